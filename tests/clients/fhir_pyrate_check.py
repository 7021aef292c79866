"""FHIR-PYrate as a data scientist uses it: registers a person and readings by plain requests, and makes tables of searches.

Standard input is the task: base, token, and a consent and a reading to fill in. Any surprise ends the process with a message.
"""

import json
import sys

import requests
from fhir_pyrate import Ahoy, Pirate
from pandas import DataFrame

TASK = json.load(sys.stdin)
BASE = TASK["base"]


def equal(found, expected, what):
    if found != expected:
        sys.exit(f"fhir-pyrate: {what}: expected {expected!r}, found {found!r}")


def filled(template, patient):
    return json.loads(json.dumps(template).replace("Patient/PATIENT", f"Patient/{patient}"))


auth = Ahoy(auth_type="token", token=TASK["token"])


def created(resource):
    answer = auth.session.post(f"{BASE}/{resource['resourceType']}", json=resource)
    equal(answer.status_code, 201, answer.text)
    return answer.json()["id"]


def reading(patient, number):
    body = filled(TASK["reading"], patient)
    body["identifier"][0]["value"] = f"pyrate-{patient}-{number}"
    body["effectiveDateTime"] = f"2026-05-{number:02}T08:00:00Z"
    body["valueQuantity"]["value"] = 60 + number
    return body


patients = []
for _ in range(2):
    patients.append(created({"resourceType": "Patient", "active": True}))
    created(filled(TASK["consent"], patients[-1]))
for number in range(1, 8):
    created(reading(patients[0], number))
created(reading(patients[1], 9))

PATHS = [("id", "id"), ("value", "valueQuantity.value"), ("when", "effectiveDateTime")]
with Pirate(auth=auth, base_url=BASE, num_processes=1) as pirate:
    mine = {"patient": patients[0], "_sort": "date", "_count": 3}
    equal(pirate.get_bundle_total("Observation", {**mine, "_total": "accurate"}), 7, "the total")
    pages = list(pirate.steal_bundles("Observation", mine))
    equal([len(page.entry) for page in pages], [3, 3, 1], "entries of the pages")
    table = pirate.steal_bundles_to_dataframe("Observation", mine, fhir_paths=PATHS)
    equal([float(value) for value in table["value"]], [61, 62, 63, 64, 65, 66, 67], "values of all pages")
    equal(len(pirate.steal_bundles_to_dataframe("Observation", mine, num_pages=1, fhir_paths=PATHS)), 3, "one page")
    spans = pirate.sail_through_search_space_to_dataframe(
        "Observation",
        time_attribute_name="date",
        date_init="2026-05-02",
        date_end="2026-05-05",
        request_params={"patient": patients[0]},
        fhir_paths=PATHS,
    )
    equal(sorted(float(value) for value in spans["value"]), [62, 63, 64], "a span of time")

    # The library reads what is named by its id, and searches for nothing else.
    person = pirate.steal_bundles_to_dataframe("Patient", {"_id": patients[0]}, fhir_paths=["id", "active"])
    equal(list(person["id"]), [patients[0]], "a person by id")
    persons = DataFrame({"id": patients})
    rows = pirate.trade_rows_for_dataframe(
        persons, "Observation", df_constraints={"patient": "id"}, fhir_paths=PATHS[1:], with_ref=True
    )
    equal(sorted(float(value) for value in rows["value"]), [61, 62, 63, 64, 65, 66, 67, 69], "readings of each person")
    flat = pirate.steal_bundles_to_dataframe("Observation", mine)
    equal(set(flat["code_coding_0_code"]), {"8867-4"}, "the codes of the flat table")

stranger = Pirate(auth=requests.Session(), base_url=BASE, num_processes=1)
equal(list(stranger.steal_bundles("Observation", {"patient": patients[0]})), [], "what a stranger gets")
