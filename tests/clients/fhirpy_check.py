"""fhirpy as an app uses it, synchronous and asynchronous; any surprise ends the process with a message.

Standard input is the task: base, token, and a consent and a reading to fill in.
"""

import asyncio
import copy
import json
import sys

from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import AuthorizationError, ForbiddenError, OperationOutcome, ResourceNotFound

TASK = json.load(sys.stdin)
PATIENT = "PATIENT"


def check(holds, what):
    if not holds:
        sys.exit(f"fhirpy: {what}")


def equal(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def refused(kind, what, call):
    try:
        call()
    except kind as error:
        return error
    sys.exit(f"fhirpy: {what} was not refused as {kind.__name__}")


def filled(template, patient):
    return json.loads(json.dumps(template).replace(f"Patient/{PATIENT}", f"Patient/{patient}"))


def reading(patient, number):
    """Readings are a day apart, so that their order by date is the order of their numbers."""
    body = filled(TASK["reading"], patient)
    body["identifier"][0]["value"] = f"fhirpy-{patient}-{number}"
    body["effectiveDateTime"] = f"2026-02-{number:02}T08:00:00Z"
    body["valueQuantity"]["value"] = 60 + number
    return body


def synchronous():
    client = SyncFHIRClient(TASK["base"], authorization=f"Bearer {TASK['token']}")

    patient = client.resource("Patient", active=True)
    patient.save()
    check(patient.id and patient.meta.versionId == "1", "create answered no id or version")
    patient["gender"] = "female"
    patient.save()
    equal(patient.meta.versionId, "2", "version after an update")
    patient.refresh()
    equal(client.reference("Patient", patient.id).to_resource()["gender"], "female", "the updated resource")

    first = client.resource(**{"resource_type": "Observation", **without_type(reading(patient.id, 1))})
    refused(ForbiddenError, "a reading without consent", first.save)
    client.resource(**{"resource_type": "Consent", **without_type(filled(TASK["consent"], patient.id))}).save()
    first.save()
    check(first.id, "the reading got no id")
    check(first.is_valid(), "$validate found fault with a stored reading")

    for address in ("", "/"):
        numbers = (2, 3) if address == "" else (4, 5)
        bundle = {
            "resourceType": "Bundle",
            "type": "batch" if address == "" else "transaction",
            "entry": [
                {"resource": reading(patient.id, number), "request": {"method": "POST", "url": "Observation"}}
                for number in numbers
            ],
        }
        answer = client.execute(address, method="post", data=bundle)
        equal(answer["type"], f"{bundle['type']}-response", "type of the answer to a Bundle")
        equal([entry["response"]["status"][:3] for entry in answer["entry"]], ["201", "201"], "entries of a Bundle")

    mine = client.resources("Observation").search(patient=patient.id)
    equal(mine.count(), 5, "count()")
    equal(len(mine.fetch()), 5, "one page")
    paged = mine.sort("date").limit(2)
    equal([one["valueQuantity"]["value"] for one in paged], [61, 62, 63, 64, 65], "all pages, oldest first")
    newest = mine.sort("-date").limit(1).first()
    equal(newest["valueQuantity"]["value"], 65, "the newest")
    equal(mine.search(code="http://loinc.org|8867-4").count(), 5, "by code with system")
    equal(mine.search(code="8867-4").count(), 5, "by code alone")
    equal(mine.search(code="85354-9").count(), 0, "by another code")
    equal(mine.search(category="vital-signs").count(), 5, "by category")
    equal(len(mine.search(date__ge="2026-02-02", date__lt="2026-02-04").fetch_all()), 2, "by date")
    equal(mine.search(_id=first.id).get().id, first.id, "by _id")

    refused(ResourceNotFound, "a read of nothing", lambda: client.get("Observation", "nothing"))
    outcome = refused(OperationOutcome, "a search by an unknown parameter", mine.search(nothing="x").fetch)
    equal(outcome.resource["resourceType"], "OperationOutcome", "what the refusal carries")
    wrong = reading(patient.id, 7)
    wrong["status"] = "nearly"
    wrong = client.resource(**{"resource_type": "Observation", **without_type(wrong)})
    outcome = refused(OperationOutcome, "an invalid status", wrong.save)
    equal(outcome.resource["issue"][0]["expression"], ["Observation.status"], "where the fault is")
    check(not wrong.is_valid(), "$validate found no fault with an invalid status")
    stranger = SyncFHIRClient(TASK["base"], authorization="Bearer nonsense")
    refused(AuthorizationError, "a wrong token", stranger.resources("Observation").fetch)


def without_type(body):
    body = copy.deepcopy(body)
    del body["resourceType"]
    return body


async def asynchronous():
    client = AsyncFHIRClient(TASK["base"], authorization=f"Bearer {TASK['token']}")
    patient = client.resource("Patient", active=True)
    await patient.save()
    await client.resource(**{"resource_type": "Consent", **without_type(filled(TASK["consent"], patient.id))}).save()
    await asyncio.gather(
        *(
            client.resource(**{"resource_type": "Observation", **without_type(reading(patient.id, number))}).save()
            for number in range(1, 10)
        )
    )
    mine = client.resources("Observation").search(patient=f"Patient/{patient.id}").sort("-date").limit(4)
    values = [one["valueQuantity"]["value"] async for one in mine]
    equal(values, list(range(69, 60, -1)), "all pages, newest first")
    equal(await mine.count(), 9, "count()")


synchronous()
asyncio.run(asynchronous())
