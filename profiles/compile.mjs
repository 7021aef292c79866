// Runs SUSHI on an assembled guide and stages what comes of it. Usage: node compile.mjs SUSHI WORK-FOLDER
//
// WORK/ig is the project. Out come WORK/out/compiled (definitions without snapshots, as they are reviewed),
// WORK/out/package (the same with snapshots, as they are enforced and published) and WORK/out/examples. An error or a
// warning of SUSHI ends it.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const [, , sushi, work] = process.argv;
const version = JSON.parse(readFileSync(new URL('../package.json', `file://${sushi}`), 'utf8')).version;
const EMPTY = '0.0.0';
const automatic = ['hl7.fhir.uv.tools.r4', 'hl7.terminology.r4', 'hl7.fhir.uv.extensions.r4'];

const write = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
const fresh = (path) => {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
};

for (const name of automatic) {
  const folder = fresh(`${work}/home/.fhir/packages/${name}#${EMPTY}/package`);
  write(`${folder}/package.json`, { name, version: EMPTY, fhirVersions: ['4.0.1'], dependencies: {} });
}

// What SUSHI asks a registry about itself and its automatic packages.
const registry = createServer((request, response) => {
  const name = decodeURIComponent(request.url.slice(1).split('?')[0]);
  const latest = name === 'fsh-sushi' ? version : automatic.includes(name) ? EMPTY : undefined;
  response.statusCode = latest ? 200 : 404;
  response.setHeader('content-type', 'application/json');
  // A connection that is kept would be closed while SUSHI reads the standard, and its next question would fail.
  response.setHeader('connection', 'close');
  response.end(JSON.stringify(latest ? { name, version: latest, 'dist-tags': { latest }, versions: { [latest]: { name, version: latest } } } : {}));
});
await new Promise((ready) => registry.listen(0, '127.0.0.1', ready));
const address = `http://127.0.0.1:${registry.address().port}`;

const env = { ...process.env, HOME: `${work}/home`, FPL_REGISTRY: address, npm_config_registry: address, npm_config_fetch_retries: '0' };
const log = [];
const run = spawn(process.execPath, [sushi, 'build', '-s', `${work}/ig`], { env });
for (const stream of [run.stdout, run.stderr]) stream.on('data', (chunk) => log.push(chunk));
const status = await new Promise((done) => run.on('close', done));
registry.close();
const said = Buffer.concat(log).toString();
if (status !== 0 || !/0 Errors\s+0 Warnings/.test(said)) {
  console.error(said.split('\n').filter((line) => !line.startsWith('info')).join('\n'));
  process.exit(1);
}

// SUSHI writes members as rules set them. Examples are read by people, so theirs stand in the order of the standard.
const structures = new Map();
const structure = (type) => {
  if (!structures.has(type)) {
    const file = `${work}/home/.fhir/packages/hl7.fhir.r4.core#4.0.1/package/StructureDefinition-${type}.json`;
    structures.set(type, JSON.parse(readFileSync(file, 'utf8')).snapshot.element);
  }
  return structures.get(type);
};
const inOrder = (value, type, path = type) => {
  if (Array.isArray(value)) return value.map((each) => inOrder(each, type, path));
  if (!value || typeof value !== 'object') return value;
  if (value.resourceType && value.resourceType !== type) return inOrder(value, value.resourceType);
  const children = structure(type).filter((each) => each.path.startsWith(`${path}.`) && !each.path.slice(path.length + 1).includes('.'));
  const place = (member) => {
    const key = member.replace(/^_/, '');
    const at = children.findIndex(({ path: full }) => {
      const name = full.slice(path.length + 1);
      return name.endsWith('[x]') ? key.startsWith(name.slice(0, -3)) && key !== name.slice(0, -3) : key === name;
    });
    return at < 0 ? [member === 'resourceType' ? -1 : children.length, undefined, key] : [at, children[at], key];
  };
  const below = (member) => {
    const [, child, key] = place(member);
    if (!child || member.startsWith('_')) return value[member];
    if (child.contentReference) return inOrder(value[member], type, child.contentReference.slice(1));
    const stem = child.path.split('.').pop().replace('[x]', '');
    const named = child.type.map((each) => each.code).find((code) => child.type.length === 1 || key === stem + code[0].toUpperCase() + code.slice(1));
    if (named === 'BackboneElement' || named === 'Element') return inOrder(value[member], type, child.path);
    return named && /^[A-Z]/.test(named) ? inOrder(value[member], named) : value[member];
  };
  const members = Object.keys(value).sort((one, other) => place(one)[0] - place(other)[0]);
  return Object.fromEntries(members.map((member) => [member, below(member)]));
};

const out = fresh(`${work}/out`);
const [compiled, full, valid, invalid] = ['compiled', 'package', 'examples/valid', 'examples/invalid'].map((path) => fresh(`${out}/${path}`));
const folder = `${work}/ig/fsh-generated/resources`;
const resources = readdirSync(folder).sort().map((file) => [file, JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'))]);
const guide = resources.find(([file]) => file.startsWith('ImplementationGuide-'))[1];
// Pages are the program's matter, and what SUSHI leaves in their place is no R4.
delete guide.definition.page;
delete guide.definition.parameter;
const isExample = new Set(guide.definition.resource.filter((each) => each.exampleBoolean || each.exampleCanonical).map((each) => each.reference.reference));
for (const [file, resource] of resources) {
  if (isExample.has(`${resource.resourceType}/${resource.id}`)) {
    write(`${valid}/${resource.id}.json`, inOrder(resource, resource.resourceType));
    continue;
  }
  // Whoever names a version of a definition names the guide's.
  if (resource.url) resource.version ??= guide.version;
  const { snapshot, ...reviewed } = resource;
  write(`${compiled}/${file}`, reviewed);
  writeFileSync(`${full}/${file}`, JSON.stringify(resource));
}

// The invalid examples are valid ones with little changed. `set` gives a member another value, null takes it away;
// `find` first goes to the extension of that name; `keep` leaves the extensions of that name alone.
const clone = (value) => JSON.parse(JSON.stringify(value));
const at = (root, pointer) => pointer.split('/').slice(1).reduce((holder, key) => holder?.[key], root);
const change = (root, pointer, value) => {
  const path = pointer.split('/').slice(1);
  const last = path.pop();
  const holder = at(root, ['', ...path].join('/'));
  if (holder === undefined) throw new Error(`${pointer} leads nowhere`);
  if (value !== null) holder[last] = value;
  else if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else if (last in holder) delete holder[last];
  else throw new Error(`${pointer} is not there`);
};
const examples = new Map(resources.filter(([, each]) => isExample.has(`${each.resourceType}/${each.id}`)).map(([, each]) => [each.id, each]));
const expected = [...examples].map(([id, each]) => ['valid', id, each.meta.profile[0], '']);
for (const { id, of, issue, set = {}, remove = [], find = {}, keep = {} } of JSON.parse(readFileSync('profiles/invalid.json', 'utf8'))) {
  const example = clone(examples.get(of));
  example.id = id;
  const named = (name) => (each) => each.url.endsWith(`/${name}`);
  let place = example;
  for (const [pointer, name] of Object.entries(find)) place = at(example, pointer).find(named(name));
  for (const [pointer, name] of Object.entries(keep)) change(example, pointer, at(example, pointer).filter(named(name)));
  for (const [pointer, value] of Object.entries(set)) change(place, pointer, value);
  for (const pointer of remove) change(place, pointer, null);
  write(`${invalid}/${id}.json`, inOrder(example, example.resourceType));
  expected.push(['invalid', id, example.meta.profile[0], issue]);
}
const lines = [['kind', 'id', 'profile', 'issue'], ...expected.sort((one, other) => `${one}`.localeCompare(`${other}`, 'en'))];
writeFileSync(`${out}/examples/expected.csv`, lines.map((line) => `${line.join(',')}\n`).join(''));
