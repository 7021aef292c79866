// @medplum/core as a web backend uses it; any surprise ends the process with a message.
//
// Standard input is the task: base, token, and a consent and a reading to fill in.

import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

// The modules lie under target, where this file's own directory would not find them.
const { MedplumClient, OperationOutcomeError } = await import(pathToFileURL(process.argv[2]).href);
const task = JSON.parse(await text(process.stdin));

function check(holds, what) {
  if (!holds) {
    console.error(`@medplum/core: ${what}`);
    process.exit(1);
  }
}

function equal(found, expected, what) {
  const [f, e] = [JSON.stringify(found), JSON.stringify(expected)];
  check(f === e, `${what}: expected ${e}, found ${f}`);
}

// The library keeps of a refusal what the OperationOutcome says.
async function refused(code, what, call) {
  try {
    await call();
  } catch (error) {
    check(error instanceof OperationOutcomeError, `${what} failed without an outcome: ${error.stack}`);
    equal(error.outcome.issue[0].code, code, `code of ${what}`);
    return error.outcome;
  }
  return check(false, `${what} was not refused`);
}

const filled = (template, patient) =>
  JSON.parse(JSON.stringify(template).replaceAll('Patient/PATIENT', `Patient/${patient}`));

function reading(patient, number) {
  const body = filled(task.reading, patient);
  body.identifier[0].value = `medplum-${patient}-${number}`;
  body.effectiveDateTime = `2026-06-${String(number).padStart(2, '0')}T08:00:00Z`;
  body.valueQuantity.value = 90 + number;
  return body;
}

// It keeps answers for a while, which would hide what the gateway says next.
const options = { baseUrl: task.base.replace(/fhir$/, ''), fhirUrlPath: 'fhir', fetch, cacheTime: 0 };
const client = new MedplumClient({ ...options, accessToken: task.token });

let patient = await client.createResource({ resourceType: 'Patient', active: true });
patient = await client.updateResource({ ...patient, gender: 'other' });
equal(patient.meta.versionId, '2', 'version after an update');
patient = await client.patchResource('Patient', patient.id, [{ op: 'replace', path: '/gender', value: 'female' }]);
equal([patient.gender, patient.meta.versionId], ['female', '3'], 'after a patch');
equal((await client.readVersion('Patient', patient.id, '1')).gender, undefined, 'the first version');
equal((await client.readHistory('Patient', patient.id)).entry.length, 3, 'versions in the history');
equal((await client.readReference({ reference: `Patient/${patient.id}` })).id, patient.id, 'the reference resolved');

await refused('suppressed', 'a reading without consent', () => client.createResource(reading(patient.id, 1)));
await client.createResource(filled(task.consent, patient.id));
const first = await client.createResource(reading(patient.id, 1));
const identifier = `${first.identifier[0].system}|${first.identifier[0].value}`;
const again = await client.createResourceIfNoneExist(reading(patient.id, 1), `identifier=${identifier}`);
equal(again.id, first.id, 'a conditional create');

for (const [type, numbers] of [['batch', [2, 3]], ['transaction', [4, 5]]]) {
  const entry = numbers.map((number) => ({
    resource: reading(patient.id, number),
    request: { method: 'POST', url: 'Observation' },
  }));
  const answer = await client.executeBatch({ resourceType: 'Bundle', type, entry });
  equal(answer.entry.map((one) => one.response.status.slice(0, 3)), ['201', '201'], `entries of a ${type}`);
}

const values = (found) => found.map((one) => one.valueQuantity.value);
const mine = { patient: patient.id, _sort: 'date' };
equal(values(await client.searchResources('Observation', mine)), [91, 92, 93, 94, 95], 'a search');
const paged = [];
for await (const page of client.searchResourcePages('Observation', { ...mine, _count: '2' })) {
  paged.push(...values(page));
}
equal(paged, [91, 92, 93, 94, 95], 'all pages');
equal((await client.searchOne('Observation', { ...mine, _sort: '-date' })).valueQuantity.value, 95, 'the newest');
equal((await client.search('Observation', { ...mine, _summary: 'count' })).total, 5, 'the total');
const wide = await client.search('Observation', { ...mine, _include: 'Observation:subject', _count: '1' });
equal(wide.entry.map((one) => one.search.mode), ['match', 'include'], 'a search with what it refers to');
equal(values(await client.searchResources('Observation', { ...mine, code: 'http://loinc.org|8867-4', date: 'ge2026-06-04' })),
  [94, 95], 'by code and date');

equal((await client.validateResource(reading(patient.id, 6))).resourceType, 'OperationOutcome', 'answer to $validate');
await refused('not-found', 'a read of nothing', () => client.readResource('Observation', 'nothing'));
await refused('not-supported', 'a search by an unknown parameter', () => client.search('Observation', { nothing: 'x' }));
await refused('forbidden', 'a delete without the scope', () => client.deleteResource('Observation', first.id));
const outcome = await refused('code-invalid', 'an invalid status', () =>
  client.createResource({ ...reading(patient.id, 7), status: 'nearly' }));
equal(outcome.issue[0].expression, ['Observation.status'], 'where the fault is');
await refused('login', 'a wrong token', () =>
  new MedplumClient({ ...options, accessToken: 'nonsense' }).search('Observation', mine));
