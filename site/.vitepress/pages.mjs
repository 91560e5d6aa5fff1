// What is in the sidebar, in order; the check of the site opens each of these pages.
const group = (text, names) => ({ text, items: names.map(([link, title]) => ({ text: title, link: `/${link}` })) });

export const sidebar = [
  group('Start', [
    ['start', 'First steps'],
    ['concepts', 'Concepts'],
    ['composing', 'A proxy of your own'],
    ['comparison', 'Comparison'],
  ]),
  group('Pools', [
    ['pools', 'The pools'],
    ['url-pools', 'Servers behind URLs'],
    ['http', 'HTTP in detail'],
    ['targets', 'Several targets'],
    ['balancing', 'Balancing: the parts'],
    ['resource-pool', 'ResourcePool'],
    ['lifecycle', 'Processes'],
  ]),
  group('Limits and stores', [
    ['rate-limiting', 'Rate limiting'],
    ['semaphore', 'Semaphore'],
    ['circuit-breaker', 'Circuit breaker'],
    ['file-cache', 'FileCache'],
  ]),
  group('Gateway', [
    ['gateway', 'The gateway'],
    ['middleware', 'Middleware'],
    ['oauth', 'Signing in (OAuth)'],
    ['eras', 'Eras'],
    ['desk', 'At the desk'],
    ['scaling', 'Many replicas'],
    ['kubernetes', 'On Kubernetes'],
    ['shutdown', 'Shutdown'],
    ['observability', 'Metrics, traces, logs'],
    ['security', 'Security'],
  ]),
  group('Test and measure', [
    ['testing', 'Testing a proxy'],
    ['faults', 'Faults'],
    ['benchmarking', 'Benchmarking'],
    ['benchmarks', 'Benchmarks'],
    ['conformance', 'Conformance'],
    ['mutants', 'Mutants'],
  ]),
  group('Reference', [
    ['reference/', 'Every export'],
    ['errors', 'Error codes'],
    ['config', 'Config files'],
    ['config-schema', 'Config schema'],
    ['cli', 'The program'],
    ['package', 'The package'],
    ['decisions/', 'Decisions'],
    ['changelog', 'Changelog'],
  ]),
];

const links = sidebar.flatMap(({ items }) => items.map(({ link }) => link.slice(1)));

/** Each page of the sidebar by its path; the first four are looked at in every size and colour. */
export const pages = [
  '',
  'start',
  'concepts',
  'reference/src/pool',
  ...links.filter((link) => !/^(start|concepts)$/.test(link)),
];
