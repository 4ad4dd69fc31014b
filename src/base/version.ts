declare const __VERSION__: string | undefined;

/** Version of this program; the build writes it in, sources run without a build have none. */
export const VERSION: string = typeof __VERSION__ === 'string' ? __VERSION__ : '0.0.0-source';
