/** Of a resource that a client subscribes to: a subscription keeps its URI for as long as it lasts. */
export const MAX_URI_LENGTH = 8_192;
