/**
 * Imported before everything else on stdio: one line of anybody's on stdout would corrupt the protocol, so whatever a
 * library prints goes to stderr.
 */
const { console: output } = globalThis;
output.log = output.info = output.debug = output.error;
