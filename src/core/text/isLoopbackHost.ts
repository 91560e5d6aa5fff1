/** Whether a host is this machine by its name. */
export const isLoopbackHost = (hostname: string): boolean =>
  /^(localhost|(.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
