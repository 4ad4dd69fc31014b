import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import { parseSubmission } from './submission.ts';
import type { Worker } from './worker.ts';

/** Where the field's workers live below their host. */
export const WORKER_BASE_PATH = '/services/autoresearch-worker';

/** The field's worker takes 5 MB of source; JSON escapes make it longer. */
const MAX_BODY = '12mb';

/**
 * The worker's HTTP API (worker-api.md sections 1 to 3).
 * @param gate stands in front of `POST /experiment` alone; everything else is free
 * @param readRegistration the registration file as it is now
 */
export function createWorkerApp(worker: Worker, gate: RequestHandler, readRegistration: () => unknown): Express {
  const app = express().disable('x-powered-by').enable('strict routing').enable('case sensitive routing');
  const base = WORKER_BASE_PATH;
  const health: RequestHandler = (_request, response) => {
    const { repo, settings } = worker;
    response.json({ status: 'ok', busy: worker.current !== null, repo, timeoutSeconds: settings.timeoutSeconds });
  };
  app.get('/.well-known/agent-registration.json', (_request, response) => void response.json(readRegistration()));
  app.get(`${base}/health`, health);
  app.get(`${base}/healthz`, health);
  app.get(`${base}/status`, (_request, response) => void response.json(describeStatus(worker)));
  app.get(`${base}/best`, (_request, response) => {
    if (worker.best) response.json(worker.best);
    else response.status(404).json({ error: 'no completed experiments yet' });
  });
  app.get(`${base}/experiments/:id`, (request, response) => {
    const id = request.params.id;
    const result = worker.findResult(id);
    if (!/^[a-zA-Z0-9_-]+$/.test(id)) response.status(400).json({ error: 'invalid experiment id' });
    else if (result) response.json(result);
    else response.status(404).json({ error: `experiment ${id} not found` });
  });
  // The body is read after the gate: an unpaid stranger sends nothing that we keep.
  app.post(`${base}/experiment`, gate, express.raw({ type: () => true, limit: MAX_BODY }), runExperiment(worker));
  app.use((request, response) => void response.status(404).json({ error: `unknown endpoint: ${request.path}` }));
  app.use(answerError);
  return app;
}

function runExperiment(worker: Worker): RequestHandler {
  return async (request, response) => {
    // The field's worker reads a body without Content-Length as empty; a client that sends one chunked must notice.
    const hasLength = request.headers['content-length'] !== undefined;
    const body = hasLength && Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const submission = parseSubmission(body, new Date());
    switch (submission.kind) {
      case 'probe': {
        const busy = worker.current !== null;
        response.json({ status: 'ok', probe: true, busy, timeoutSeconds: worker.settings.timeoutSeconds });
        return;
      }
      case 'refused':
        response.status(400).json({ error: submission.error });
        return;
      case 'run':
        // A status of 400 or more tells the gate not to settle: nobody pays for a busy worker.
        if (worker.current) {
          response.status(409).json({ error: 'worker is already running an experiment', status: 'busy' });
          return;
        }
        response.json(await worker.run(submission));
    }
  };
}

function describeStatus(worker: Worker) {
  return {
    status: worker.current ? 'busy' : 'idle',
    current: worker.current,
    last: worker.last,
    best: worker.best,
    repo: worker.repo,
    command: [worker.settings.python, 'train.py'],
    timeoutSeconds: worker.settings.timeoutSeconds,
  };
}

const answerError: ErrorRequestHandler = (error: unknown, _request, response, _next) => {
  const isTooLarge = error instanceof Error && 'type' in error && error.type === 'entity.too.large';
  const reason = error instanceof Error ? error.message : 'unknown';
  if (isTooLarge) response.status(413).json({ error: 'request body is too large' });
  else response.status(500).json({ error: `internal worker error: ${reason}` });
};
