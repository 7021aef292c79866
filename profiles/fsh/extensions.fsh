// What a measurement of a wearable needs and Observation has no place for. Context stands here and not in components:
// the vital signs of R4 bind the value of each component to units.

Extension: RecordingMethodExtension
Id: mh-recording-method
Title: "Recording method"
Description: "Whether a device recorded the value by itself, a person entered it, or it was derived from other values."
Context: Observation, MedicationAdministration, QuestionnaireResponse, Provenance
* value[x] 1..1
* value[x] only code
* value[x] from RecordingMethodAll (required)

Extension: Completeness
Id: mh-completeness
Title: "Completeness"
Description: "The share of the period in which the device was worn and measured, in percent."
Context: Observation
* value[x] 1..1
* value[x] only Quantity
* valueQuantity.value 1..1
* valueQuantity.system 1..1
* valueQuantity.system = $ucum
* valueQuantity.code 1..1
* valueQuantity.code = #%
* obeys mh-completeness-range

Invariant: mh-completeness-range
Description: "Completeness lies between 0 and 100 percent."
Severity: #error
Expression: "value.value >= 0 and value.value <= 100"

Extension: CalibrationExtension
Id: mh-calibration
Title: "Calibration at the time of measurement"
Description: "Whether the sensor was calibrated when it measured, in the words of DeviceMetric."
Context: Observation
* value[x] 1..1
* value[x] only code
* value[x] from http://hl7.org/fhir/ValueSet/metric-calibration-state (required)

Extension: Delay
Id: mh-delay
Title: "Delay"
Description: "How long after the measurement the value reached the app."
Context: Observation
* value[x] 1..1
* value[x] only Duration
* valueDuration.value 1..1
* valueDuration.system 1..1
* valueDuration.system = $ucum
* valueDuration.code 1..1
* obeys mh-delay-positive

Invariant: mh-delay-positive
Description: "A delay is not negative."
Severity: #error
Expression: "value.value >= 0"

Extension: TimeZone
Id: mh-time-zone
Title: "Time zone"
Description: "The time zone by whose midnight a day was cut, as a name of the IANA database."
Context: Observation
* value[x] 1..1
* value[x] only code
* obeys mh-time-zone-name

Invariant: mh-time-zone-name
Description: "The name is UTC or an area and a place."
Severity: #error
Expression: "value = 'UTC' or value.toString().matches('^[A-Za-z_]+(/[A-Za-z0-9_+-]+)+$')"

Extension: StatisticExtension
Id: mh-statistic
Title: "Statistic"
Description: "What the value is of the values of the period."
Context: Observation
* value[x] 1..1
* value[x] only code
* value[x] from Statistic (required)

Extension: MealTimeExtension
Id: mh-meal-time
Title: "Time to the meal"
Description: "How the glucose value stands to a meal, where the code does not say it."
Context: Observation
* value[x] 1..1
* value[x] only code
* value[x] from MealTimeAll (required)

Extension: OriginalValue
Id: mh-original-value
Title: "Original value"
Description: "The value and unit as the app had them, before a conversion."
Context: Observation
* value[x] 1..1
* value[x] only Quantity

Extension: MappingVersion
Id: mh-mapping-version
Title: "Version of the mapping"
Description: "Which mapping made the resource of the device's own data: its canonical and version."
Context: Provenance
* value[x] 1..1
* value[x] only canonical

Extension: MeasureCategoryExtension
Id: mh-category
Title: "Category of data"
Description: "Which category of measurements is meant."
Context: AuditEvent.entity, DeviceDefinition, PlanDefinition, Measure
* value[x] 1..1
* value[x] only code
* value[x] from MeasureCategoryAll (required)

Extension: Assessment
Id: mh-assessment
Title: "Assessment of an app"
Description: "A certificate, label or register entry of an app: by which scheme, at what level, from when to when."
Context: DeviceDefinition
* extension contains
    scheme 1..1 and
    level 0..1 and
    evidence 0..1 and
    period 1..1 and
    specification 0..*
* extension[scheme].value[x] 1..1
* extension[scheme].value[x] only code
* extension[scheme].value[x] from AssessmentSchemeAll (required)
* extension[level].value[x] 1..1
* extension[level].value[x] only string
* extension[evidence].value[x] 1..1
* extension[evidence].value[x] only url
* extension[period].value[x] 1..1
* extension[period].value[x] only Period
* extension[period].valuePeriod.start 1..1
* extension[specification].value[x] 1..1
* extension[specification].value[x] only uri
