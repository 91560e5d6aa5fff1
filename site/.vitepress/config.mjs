import { defineConfig } from 'vitepress';
import { sidebar } from './pages.mjs';

export default defineConfig({
  title: 'mcp-poolkit',
  description: 'Pools and concurrency primitives for MCP proxies',
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: '.build/pages',
  outDir: '.build/site',
  cacheDir: '.build/cache',
  // Dead links fail the build: that is the default, and no link is exempt.
  ignoreDeadLinks: false,
  lastUpdated: false,
  markdown: {
    config(md) {
      // Pages are Vue templates: two braces in a page's words are words.
      const plain = (text) => md.utils.escapeHtml(text).replaceAll('{{', '&#123;&#123;');
      md.renderer.rules.text = (tokens, index) => plain(tokens[index].content);
      md.renderer.rules.code_inline = (tokens, index) => `<code v-pre>${plain(tokens[index].content)}</code>`;
      const fence = md.renderer.rules.fence;
      md.renderer.rules.fence = (tokens, index, ...rest) => {
        const { info, content } = tokens[index];
        if (info.trim() !== 'mermaid') return fence(tokens, index, ...rest);
        return `<Diagram code="${encodeURIComponent(content)}" />`;
      };
    },
  },
  vite: { build: { chunkSizeWarningLimit: 4_000 } },
  themeConfig: {
    search: {
      provider: 'local',
      options: { detailedView: false, miniSearch: { searchOptions: { combineWith: 'AND' } } },
    },
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/start' },
      { text: 'Concepts', link: '/concepts' },
      { text: 'Reference', link: '/reference/' },
    ],
    socialLinks: [{ icon: 'github', link: 'https://github.com/mcp-poolkit/mcp-poolkit' }],
    sidebar,
  },
});
