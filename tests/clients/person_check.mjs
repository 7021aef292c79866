// Walks the person's page in a browser, as people with a mouse, with a keyboard and with a screen reader do.
// Usage: node person_check.mjs PUPPETEER AXE; the address of the page comes in on standard input.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [, , puppeteerPath, axePath] = process.argv;
const { default: puppeteer } = await import(puppeteerPath);
const axe = readFileSync(axePath, 'utf8');
const { root, link, shots } = JSON.parse(readFileSync(0, 'utf8'));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Tests may run as root, where Chromium has no sandbox; the gateway's certificate is its own.
  args: ['--no-sandbox', '--disable-gpu', '--lang=en'],
  acceptInsecureCerts: true,
});

const wrong = [];
const page = await browser.newPage();
page.on('console', (message) => message.type() === 'error' && !message.text().includes('401') && wrong.push(message.text()));
page.on('pageerror', (error) => wrong.push(String(error)));
page.on('request', (request) => request.url().startsWith(root) || wrong.push(`loads ${request.url()}`));

/** No violation of WCAG A and AA and nothing wider than the screen, small and dark or wide and light. */
async function look(name) {
  for (const [width, dark] of [[1280, false], [390, true], [320, false]]) {
    await page.setViewport({ width, height: width < 500 ? 844 : 900 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wider > 0) wrong.push(`${name} is ${wider} px wider than ${width}`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    wrong.push(...violations.map((each) => `${name} at ${width}: ${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' ')}`));
    if (shots) await page.screenshot({ path: `${shots}/person-${name}-${width}.png`, fullPage: true });
  }
}

const text = (selector) => page.$eval(selector, (element) => element.textContent.trim());
const follow = (act) => Promise.all([page.waitForNavigation(), act()]);
/** The row of a category under the first party. */
const row = (category) => `li:has(#p0-${category})`;

try {
  await page.goto(`${root}/person`);
  await look('turned-away');
  await page.goto(link);
  await look('door');
  await follow(() => page.click('main button'));
  assert.equal(page.url(), `${root}/person`);
  await look('choices');

  // A switch, by mouse.
  assert.equal(await text(`${row('heart-rate')} .state`), 'allowed');
  await follow(() => page.click(`${row('heart-rate')} button[value=off]`));
  assert.equal(await text('[role=status]'), 'Your change is saved and counts from now on.');
  assert.equal(await text(`${row('heart-rate')} .state`), 'not allowed');
  await look('changed');
  // Going on with the page repeats nothing.
  await page.reload();
  assert.equal(await text(`${row('heart-rate')} .state`), 'not allowed');

  // And by keyboard: the first stop skips to the content, and a button says what it is about.
  await page.goto(`${root}/person`);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), '#content');
  await page.focus(`${row('blood-pressure')} button[value=off]`);
  assert.equal(await page.evaluate(() => document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent), 'Blood pressure');
  await follow(() => page.keyboard.press('Enter'));
  assert.equal(await text(`${row('blood-pressure')} .state`), 'not allowed');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'p0-blood-pressure');

  // Another language stays.
  await follow(() => page.click('nav a[hreflang=de]'));
  assert.equal(await text('h1'), 'Meine Gesundheitsdaten');
  await page.goto(`${root}/person`);
  assert.equal(await text('h1'), 'Meine Gesundheitsdaten');
  await look('german');

  // Who did what, and back.
  await follow(() => page.click('a[href="/person/log"]'));
  assert.equal(await text('h1'), 'Wer was getan hat');
  assert.ok(await page.$$eval('tbody tr', (rows) => rows.length) > 3);
  await look('log');
  await follow(() => page.click('main a[href="/person"]'));

  // Nothing is erased without the box; with it, the visit is over.
  await page.$eval('form[action="/person/erase"] input[type=checkbox]', (box) => box.removeAttribute('required'));
  await follow(() => page.click('form[action="/person/erase"] button'));
  assert.equal(await text('[role=status]'), 'Bitte setzen Sie zuerst das Häkchen.');
  await page.click('form[action="/person/erase"] input[type=checkbox]');
  await follow(() => page.click('form[action="/person/erase"] button'));
  assert.equal(await text('h1'), 'Alles ist gelöscht');
  await look('erased');
  const answer = await page.goto(`${root}/person`);
  assert.equal(answer.status(), 401);
  assert.deepEqual(wrong, []);
} finally {
  await browser.close();
}
