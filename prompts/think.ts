/** The prompt's listing; its text comes from the one renderer that `run_loop` and the resource use. */
export const thinkPrompt = {
  name: 'think',
  title: 'Design the next experiments',
  description:
    'Everything needed to design the next experiments of a loop: champion, noise, history, coverage, budget, answer form.',
  arguments: [
    { name: 'loop_id', description: 'Loop to think about; default: the latest open one.', required: false },
    { name: 'train_path', description: 'Script to start a loop with, when there is none yet.', required: false },
    { name: 'focus', description: 'What to concentrate on, in your words.', required: false },
  ],
} as const;
