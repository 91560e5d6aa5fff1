/** The server took longer than the exchange's own bounds allow. */
export class ResponseTimeout extends Error {}
