// Holds what the HL7 validator says of the examples against what the guide says of them. Usage:
//   node compare.mjs systems OUT-FOLDER    writes the code systems that the HL7 validator needs to judge our value sets
//   node compare.mjs verdicts FILE         compares its verdicts with expected.csv and differences.csv
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';

const rows = (path) => {
  const [head, ...lines] = readFileSync(path, 'utf8').trim().split('\n').map((line) => line.split(','));
  return lines.map((line) => Object.fromEntries(head.map((key, at) => [key, line[at]])));
};
const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
const [, , task, place] = process.argv;

// Without a terminology server the HL7 validator leaves codes of LOINC, UCUM and others undecided. It is given the codes
// that our definitions, our examples and R4's vital signs name, as if they were all.
const systems = () => {
  const codes = new Map();
  const gather = (value) => {
    if (Array.isArray(value)) value.forEach(gather);
    else if (value && typeof value === 'object') {
      const { system, code, concept, codeSystem } = value;
      const listed = [...(typeof code === 'string' ? [code] : []), ...(Array.isArray(concept) ? concept.map((each) => each.code) : [])];
      if (typeof system === 'string' && !codeSystem) listed.forEach((each) => codes.set(system, (codes.get(system) ?? new Set()).add(each)));
      Object.values(value).forEach(gather);
    }
  };
  for (const folder of ['profiles/compiled', 'profiles/examples/valid', 'profiles/examples/invalid']) {
    readdirSync(folder).forEach((file) => gather(read(`${folder}/${file}`)));
  }
  const core = 'target/oracle/home/.fhir/packages/hl7.fhir.r4.core#4.0.1/package';
  for (const set of ['ucum-vitals-common', 'observation-vitalsignresult', 'ucum-bodytemp', 'ucum-bodylength', 'ucum-bodyweight', 'units-of-time']) {
    gather(read(`${core}/ValueSet-${set}.json`));
  }
  mkdirSync(place, { recursive: true });
  const foreign = ['http://loinc.org', 'http://unitsofmeasure.org', 'http://snomed.info/sct', 'urn:iso:std:iso:11073:10101',
    'http://hl7.org/fhir/uv/phr/CodeSystem/observation-pghd-codes'];
  foreign.forEach((url, at) => writeFileSync(`${place}/system-${at}.json`, JSON.stringify({
    resourceType: 'CodeSystem', id: `system-${at}`, url, name: `System${at}`, status: 'active', content: 'complete',
    concept: [...(codes.get(url) ?? [])].filter((code) => code.trim() === code).map((code) => ({ code })),
  })));
};

const verdicts = () => {
  const expected = new Map(rows('profiles/examples/expected.csv').map((row) => [`${row.kind}/${row.id}`, row]));
  const known = new Map(rows('profiles/oracle/differences.csv').map((row) => [`${row.kind}/${row.id}`, row]));
  const wrong = [];
  let agreed = 0;
  for (const line of readFileSync(place, 'utf8').trim().split('\n')) {
    const [file, ...errors] = line.split('\t');
    const kind = basename(dirname(file));
    const name = `${kind}/${basename(file, '.json')}`;
    const ours = kind === 'invalid' ? 'refused' : 'taken';
    const theirs = errors.length ? 'refused' : 'taken';
    if (kind !== 'compiled' && !expected.has(name)) wrong.push(`${name} stands in no table`);
    if (ours === theirs) {
      agreed += 1;
      if (known.has(name)) wrong.push(`${name} is no difference any more`);
    } else if (!known.has(name)) wrong.push(`${name}: ours ${ours}, theirs ${theirs} ${errors.join('; ')}`);
  }
  console.log(`the HL7 validator agrees on ${agreed}; ${known.size} differences are known`);
  if (wrong.length) {
    console.error(wrong.join('\n'));
    process.exit(1);
  }
};

({ systems, verdicts })[task]();
