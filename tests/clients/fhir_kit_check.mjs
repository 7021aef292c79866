// fhir-kit-client as a web backend uses it; any surprise ends the process with a message.
//
// Standard input is the task: base, token, the token endpoint, and a consent and a reading to fill in.

import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

// The modules lie under target, where this file's own directory would not find them.
const { Client } = await import(pathToFileURL(process.argv[2]).href);
const task = JSON.parse(await text(process.stdin));

function check(holds, what) {
  if (!holds) {
    console.error(`fhir-kit-client: ${what}`);
    process.exit(1);
  }
}

function equal(found, expected, what) {
  const [f, e] = [JSON.stringify(found), JSON.stringify(expected)];
  check(f === e, `${what}: expected ${e}, found ${f}`);
}

async function refused(status, what, call) {
  try {
    await call();
  } catch (error) {
    check(error.response, `${what} failed without an answer: ${error.stack}`);
    equal(error.response.status, status, `status of ${what}`);
    equal(error.response.data.resourceType, 'OperationOutcome', `answer to ${what}`);
    return error.response.data;
  }
  return check(false, `${what} was not refused`);
}

const filled = (template, patient) =>
  JSON.parse(JSON.stringify(template).replaceAll('Patient/PATIENT', `Patient/${patient}`));

// Readings are a day apart, so that their order by date is the order of their numbers.
function reading(patient, number) {
  const body = filled(task.reading, patient);
  body.identifier[0].value = `fhir-kit-${patient}-${number}`;
  body.effectiveDateTime = `2026-04-${String(number).padStart(2, '0')}T08:00:00Z`;
  body.valueQuantity.value = 80 + number;
  return body;
}

const entry = (resource) => ({ resource, request: { method: 'POST', url: resource.resourceType } });

const client = new Client({ baseUrl: task.base });

const capability = await client.capabilityStatement();
equal(capability.fhirVersion, '4.0.1', 'version of FHIR');
// It asks three addresses at once, of which one does not exist, and takes the first good answer.
const auth = await client.smartAuthMetadata();
equal(auth.tokenUrl.href, task.token_url, 'token endpoint');

await refused(401, 'a search without a token', () => client.search({ resourceType: 'Observation' }));
client.bearerToken = task.token;

let patient = await client.create({ resourceType: 'Patient', body: { resourceType: 'Patient', active: true } });
equal(Client.httpFor(patient).response.status, 201, 'status of a create');
patient.gender = 'other';
patient = await client.update({ resourceType: 'Patient', id: patient.id, body: patient });
equal(patient.meta.versionId, '2', 'version after an update');
const original = await client.vread({ resourceType: 'Patient', id: patient.id, version: '1' });
equal(original.gender, undefined, 'the first version');

await refused(403, 'a reading without consent', () =>
  client.create({ resourceType: 'Observation', body: reading(patient.id, 1) }));
await client.create({ resourceType: 'Consent', body: filled(task.consent, patient.id) });
const first = await client.create({ resourceType: 'Observation', body: reading(patient.id, 1) });
const read = await client.read({ resourceType: 'Observation', id: first.id });
equal(read.valueQuantity.value, 81, 'the reading read back');

const batch = await client.batch({
  body: { resourceType: 'Bundle', type: 'batch', entry: [2, 3].map((n) => entry(reading(patient.id, n))) },
});
equal(batch.entry.map((one) => one.response.status.slice(0, 3)), ['201', '201'], 'entries of a batch');
const transaction = await client.transaction({
  body: { resourceType: 'Bundle', type: 'transaction', entry: [4, 5].map((n) => entry(reading(patient.id, n))) },
});
equal(transaction.type, 'transaction-response', 'type of the answer to a transaction');
equal(transaction.entry.map((one) => one.response.status.slice(0, 3)), ['201', '201'], 'entries of a transaction');

async function values(searchParams, options) {
  const found = [];
  let bundle = await client.search({
    resourceType: 'Observation',
    searchParams: { patient: patient.id, ...searchParams },
    options,
  });
  while (bundle) {
    found.push(...(bundle.entry ?? []).map((one) => one.resource.valueQuantity.value));
    bundle = await client.nextPage({ bundle });
  }
  return found;
}

const all = [81, 82, 83, 84, 85];
equal(await values({ _sort: 'date', _count: 2 }), all, 'all pages, oldest first');
equal(await values({ _sort: '-date', _count: 2 }), all.toReversed(), 'all pages, newest first');
equal(await values({ _sort: 'date', _count: 2 }, { postSearch: true }), all, 'all pages of a search by POST');
equal(await values({ _sort: 'date', code: 'http://loinc.org|8867-4' }), all, 'by code with system');
equal(await values({ code: '85354-9' }), [], 'by another code');
equal(await values({ _sort: 'date', category: 'vital-signs' }), all, 'by category');
equal(await values({ _sort: 'date', date: ['ge2026-04-02', 'lt2026-04-04'] }), [82, 83], 'by a period');

const verdict = await client.operation({ name: '$validate', resourceType: 'Observation', input: reading(patient.id, 6) });
equal(verdict.resourceType, 'OperationOutcome', 'answer to $validate');
const resolved = await client.resolve({ reference: `Patient/${patient.id}` });
equal(resolved.id, patient.id, 'the reference resolved');

await refused(404, 'a read of nothing', () => client.read({ resourceType: 'Observation', id: 'nothing' }));
await refused(400, 'a search by an unknown parameter', () => values({ nothing: 'x' }));
await refused(403, 'a delete without the scope', () => client.delete({ resourceType: 'Observation', id: first.id }));
const outcome = await refused(422, 'an invalid status', () =>
  client.create({ resourceType: 'Observation', body: { ...reading(patient.id, 7), status: 'nearly' } }));
equal(outcome.issue[0].expression, ['Observation.status'], 'where the fault is');
