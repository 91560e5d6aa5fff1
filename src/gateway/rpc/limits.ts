/** Of a resource that a client subscribes to: a subscription keeps its URI for as long as it lasts. */
export const MAX_URI_LENGTH = 8_192;

/** Of what a client has repeated to it with each message: the token of a call's progress, the id of a subscription. */
export const MAX_LABEL_LENGTH = 1_024;
