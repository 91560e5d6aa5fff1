/** Why a cell cannot pass what passes straight: the first that fits stands in the table. */
export const REASONS = [];
