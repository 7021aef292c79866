// Walks the guide in a browser, as people with a mouse, with a keyboard and with a screen reader do.
// Usage: node guide_check.mjs PUPPETEER AXE; the address of the guide comes in on standard input.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [, , puppeteerPath, axePath] = process.argv;
const { default: puppeteer } = await import(puppeteerPath);
const axe = readFileSync(axePath, 'utf8');
const { guide, downloads, shots } = JSON.parse(readFileSync(0, 'utf8'));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Tests may run as root, where Chromium has no sandbox; the gateway's certificate is its own.
  args: ['--no-sandbox', '--disable-gpu'],
  acceptInsecureCerts: true,
});

/** A page of the guide, with all that went wrong while it was loaded. */
async function open(path, width = 1280, dark = false) {
  const page = await browser.newPage();
  await page.setViewport({ width, height: width < 500 ? 844 : 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
  page.wrong = [];
  page.on('console', (message) => message.type() === 'error' && page.wrong.push(message.text()));
  page.on('pageerror', (error) => page.wrong.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(guide) && !request.url().startsWith('data:')) page.wrong.push(`loads ${request.url()}`);
  });
  const answer = await page.goto(`${guide}/${path}`, { waitUntil: 'load' });
  assert.equal(answer.status(), 200, path);
  return page;
}

const shown = (page, selector) => page.$$eval(selector, (found) => found.filter((each) => each.offsetParent !== null).length);
const focused = (page) => page.evaluate(() => {
  const element = document.activeElement;
  return `${element.tagName} ${element.id || element.getAttribute('href') || element.getAttribute('aria-label') || ''}`.trim();
});

try {
  // Every kind of page: no violation of WCAG A and AA, nothing wider than the screen, nothing loaded from elsewhere.
  const pages = [
    '', 'profiles', 'terminology', 'programmes', 'examples', 'measures', 'sources', 'countries', 'issues', 'ethics', 'changes', 'search.html?q=heart',
    'explain?q=8867-4', 'StructureDefinition-mh-heart-rate.html', 'StructureDefinition-mh-blood-pressure.html', 'ValueSet-codes-heart-rate.html',
    'CodeSystem-measure-category.html', 'Questionnaire-phq-9.html', 'PlanDefinition-programme-hypertension.html',
    'Observation-heart-rate-unit.html', 'StructureDefinition-mh-blood-pressure-snapshot.html', '0.1.0/', '0.1.0/StructureDefinition-mh-score.html', 'explain?q=heart-rat',
  ];
  const wrong = [];
  for (const path of pages) {
    for (const [width, dark] of [[1280, false], [390, true]]) {
      const page = await open(path, width, dark);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wider > 0) wrong.push(`${path} is ${wider} px wider than ${width}`);
      // The page's own policy lets no script in but through the browser's tools.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
      const said = violations.map((each) => `${path} at ${width}: ${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' ')}`);
      wrong.push(...said, ...page.wrong.map((each) => `${path} at ${width}: ${each}`));
      if (shots) await page.screenshot({ path: `${shots}/${path.replace(/\W+/g, '_') || 'index'}-${width}.png` });
      await page.close();
    }
  }
  assert.deepEqual(wrong, []);

  // A search finds the profile, and leads there.
  let page = await open('');
  await page.type('header input[type=search]', 'heart rate');
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  const first = await page.$eval('#found a', (link) => link.textContent);
  assert.match(first, /heart rate/i);
  await Promise.all([page.waitForNavigation(), page.click('#found a')]);
  assert.match(page.url(), /StructureDefinition-mh-heart-rate\.html$/);

  // The tabs obey the arrows; all elements are a page further, whose tree opens and closes with mouse and keyboard.
  assert.equal(await shown(page, '#differential'), 0);
  await page.focus('#tab-key');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(page), 'BUTTON tab-differential');
  assert.equal(await shown(page, '#key'), 0);
  await Promise.all([page.waitForNavigation(), page.click('#differential a[href$="-snapshot.html"], main p > a[href$="-snapshot.html"]')]);
  const closed = await shown(page, '#snapshot tbody tr');
  const button = '#snapshot tr[data-name="code"] button';
  await page.click(button);
  const opened = await shown(page, '#snapshot tbody tr');
  assert.ok(opened > closed, `${closed} rows, then ${opened}`);
  assert.equal(await page.$eval(button, (each) => each.getAttribute('aria-expanded')), 'true');
  await page.focus(button);
  await page.keyboard.press('Space');
  assert.equal(await shown(page, '#snapshot tbody tr'), closed);
  await page.close();

  // An earlier version says that it is one, and where the newest is.
  page = await open('changes');
  await Promise.all([page.waitForNavigation(), page.click('main a[href$="/index.html"]')]);
  assert.match(page.url(), /\/guide\/\d+\.\d+\.\d+\/index\.html$/);
  await Promise.all([page.waitForNavigation(), page.click('nav.main a[href="profiles.html"]')]);
  assert.equal(await page.$eval('link[rel=canonical]', (link) => new URL(link.href).pathname), '/guide/profiles.html');
  await Promise.all([page.waitForNavigation(), page.click('[role=note] a')]);
  assert.match(page.url(), /\/guide\/profiles\.html$/);
  await page.close();

  // An example can be taken home, as the page shows it.
  page = await open('Observation-heart-rate-watch.html');
  const session = await browser.target().createCDPSession();
  await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads, eventsEnabled: true });
  const downloaded = new Promise((done) => session.on('Browser.downloadProgress', (event) => event.state === 'completed' && done()));
  await page.click('a[download][href$=".json"]');
  await downloaded;
  const resource = JSON.parse(readFileSync(`${downloads}/Observation-heart-rate-watch.json`, 'utf8'));
  assert.deepEqual(resource, JSON.parse(await page.$eval('pre code', (code) => code.textContent)));
  assert.equal(resource.id, 'heart-rate-watch');
  await page.close();

  // The matrix narrows to one platform, and says to how many rows.
  page = await open('countries');
  const all = await shown(page, '#rows tbody tr');
  await page.select('select[name=platform]', 'fr-ens');
  const french = await shown(page, '#rows tbody tr');
  assert.ok(french > 0 && french < all, `${french} of ${all}`);
  assert.equal(await page.$eval('.filters [role=status]', (each) => each.textContent), `${french} of ${all}`);
  await page.type('input[name=words]', 'steps');
  assert.equal(await shown(page, '#rows tbody tr'), 1);
  await page.close();

  // Keyboard only: the first stop skips to the content, and every link of the navigation can be reached and seen.
  page = await open('issues');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'A #content');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.match(await focused(page), /^INPUT/);
  await page.close();
  page = await open('issues');
  const stops = [];
  for (let stop = 0; stop < 12; stop += 1) {
    await page.keyboard.press('Tab');
    stops.push(await focused(page));
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, 'none', stops.at(-1));
  }
  for (const href of ['profiles.html', 'countries.html', 'explain.html']) assert.ok(stops.includes(`A ${href}`), stops.join(', '));
  await page.close();

  // Without scripts everything is there.
  page = await browser.newPage();
  await page.setJavaScriptEnabled(false);
  await page.goto(`${guide}/StructureDefinition-mh-heart-rate.html`);
  assert.equal(await page.$$eval('#differential tbody tr', (rows) => rows.filter((row) => row.hidden).length), 0);
  await page.goto(`${guide}/explain?q=measure-unit`);
  assert.match(await page.$eval('main', (main) => main.textContent), /Issue measure-unit/);
  await page.close();
} finally {
  await browser.close();
}
