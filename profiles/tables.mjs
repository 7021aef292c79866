// FSH of what follows from the tables of measures: the codes and units of each profile, the codes of each category, the
// guide's own codes, and the maps between the systems. Usage: node tables.mjs PROFILES-FOLDER OUT.fsh
import { readFileSync, writeFileSync } from 'node:fs';

const [, , folder, out] = process.argv;
const rows = (name) => {
  const [head, ...lines] = readFileSync(`${folder}/${name}`, 'utf8').trim().split('\n').map((line) => line.split(','));
  return lines.map((line) => Object.fromEntries(head.map((key, at) => [key, line[at]])));
};
const measures = rows('measures.csv');
// What was withdrawn is known to the program for the sake of earlier versions, and no part of this one.
const codes = rows('measure-codes.csv').filter((row) => !row.verified.startsWith('withdrawn'));
const alias = { loinc: '$loinc', snomed: '$sct', mdc: '$mdc', pghd: '$pghd', own: 'MeasureCode' };
const title = { loinc: 'LOINC', snomed: 'SNOMED CT', mdc: 'ISO/IEEE 11073', pghd: 'the personal health record guide' };
const canonical = readFileSync(`${folder}/sushi-config.yaml`, 'utf8').match(/^canonical: (.*)$/m)[1];
const unique = (list) => [...new Set(list)];
const camel = (name) => name.split('-').map((part) => part[0].toUpperCase() + part.slice(1)).join('');
const profiles = unique(measures.flatMap((row) => row.profiles.split(' '))).sort();
const text = [];
const say = (...lines) => text.push(...lines, '');
const set = (name, id, heading, what, concepts) =>
  say(`ValueSet: ${name}`, `Id: ${id}`, `Title: "${heading}"`, `Description: "${what}"`, ...unique(concepts).map((each) => `* ${each}`));
const coding = ({ system, code }) => `${alias[system]}#${code}`;
const keysOf = (test) => unique(measures.filter(test).map((row) => row.key));
const codesOf = (keys) => codes.filter((row) => keys.includes(row.key)).map(coding);

say('CodeSystem: MeasureCode', 'Id: measure', 'Title: "Measures"',
  'Description: "Measures that no other system has a code for."', '* insert OwnSystem',
  ...codes.filter((row) => row.system === 'own').map((row) => `* #${row.code} "${row.display}"`));
for (const profile of profiles) {
  const mine = (row) => row.profiles.split(' ').includes(profile);
  set(`MeasureCodes${camel(profile)}`, `codes-${profile}`, `Codes of ${profile}`,
    `What an Observation of the profile mh-${profile} may measure.`, codesOf(keysOf(mine)));
  const units = measures.filter((row) => mine(row) && row.unit).map((row) => `$ucum#${row.unit}`);
  if (units.length) {
    set(`MeasureUnits${camel(profile)}`, `units-${profile}`, `Units of ${profile}`,
      `In what a value of the profile mh-${profile} is measured; which of them goes with which code is said by the table of measures.`, units);
  }
}
for (const category of unique(measures.map((row) => row.category)).sort()) {
  set(`Category${camel(category)}`, `category-${category}`, `Codes of ${category}`,
    `The measures that belong to the category ${category} of consents and scopes.`, codesOf(keysOf((row) => row.category === category)));
}
set('MetricTypes', 'metric-types', 'What sensors measure', 'The measures by their codes of ISO/IEEE 11073-10101, as sensors are called.',
  codes.filter((row) => row.system === 'mdc').map(coding));
for (const to of ['snomed', 'mdc', 'pghd']) {
  const uri = { loinc: 'http://loinc.org', snomed: 'http://snomed.info/sct', mdc: 'urn:iso:std:iso:11073:10101',
    pghd: 'http://hl7.org/fhir/uv/phr/CodeSystem/observation-pghd-codes' };
  const from = new Map();
  for (const { key, code } of codes.filter((row) => row.system === 'loinc')) {
    for (const target of codes.filter((row) => row.system === to && row.key === key)) {
      from.set(code, [...(from.get(code) ?? []), target.code]);
    }
  }
  const lines = [`Instance: loinc-to-${to}`, 'InstanceOf: ConceptMap', 'Usage: #definition',
    `* name = "LoincTo${camel(to)}"`, `* title = "LOINC to ${title[to]}"`,
    `* description = "The measures that ${title[to]} names too. A code that covers several measures is wider."`,
    `* insert Addressed(ConceptMap, loinc-to-${to})`,
    '* status = #draft', '* experimental = false', `* group.source = "${uri.loinc}"`, `* group.target = "${uri[to]}"`];
  [...from].sort().forEach(([code, targets], at) => {
    lines.push(`* group.element[${at}].code = #${code}`);
    unique(targets).forEach((target, index) => {
      const shared = new Set(codes.filter((row) => row.system === to && row.code === target).map((row) => row.key)).size > 1;
      lines.push(`* group.element[${at}].target[${index}].code = #${target}`,
        `* group.element[${at}].target[${index}].equivalence = #${shared ? 'wider' : 'equivalent'}`);
    });
  });
  say(...lines);
}
// The address of the guide comes from its configuration alone.
say('RuleSet: Addressed(type, id)', `* url = "${canonical}/{type}/{id}"`);
writeFileSync(out, text.join('\n'));
