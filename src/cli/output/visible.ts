export { visible } from '../../core/show.js';
