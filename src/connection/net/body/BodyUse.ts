/** What is done with a response's body: kept whole, read as events, kept in part for an error's text, or passed over. */
export type BodyUse = 'whole' | 'events' | 'excerpt' | 'skip';
