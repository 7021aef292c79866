// Measurements. What holds for all of them is one rule set, so that the profiles derive from the vital signs of R4
// where there is one, and from Observation else.

RuleSet: Measured
* ^status = #draft
* meta.tag ^slicing.discriminator.type = #pattern
* meta.tag ^slicing.discriminator.path = "$this"
* meta.tag ^slicing.rules = #open
* meta.tag contains origin 1..1
* meta.tag[origin] = DataOrigin#patient-generated
* meta.tag[origin] ^short = "Says that a person made it, and stays with it on every way"
* identifier 1..*
* identifier ^short = "Names the record in the app; the same identifier again is the same record"
* identifier.system 1..1
* identifier.value 1..1
* extension contains
    RecordingMethodExtension named recordingMethod 1..1 and
    CalibrationExtension named calibration 0..1 and
    Delay named delay 0..1 and
    OriginalValue named originalValue 0..1 and
    $gateway-device named app 0..1
* extension[app] ^short = "The app that sends it"
* status from ShortStatus (required)
* subject 1..1
* subject only Reference(Patient)
* effective[x] 1..1
* device only Reference(Device or DeviceMetric)
* device ^short = "What measured it"

RuleSet: Coded(profile)
* code from MeasureCodes{profile} (required)

RuleSet: InUnits(profile)
* value[x] only Quantity
* valueQuantity.value 1..1
* valueQuantity.system 1..1
* valueQuantity.system = $ucum
* valueQuantity.code 1..1
* valueQuantity.code from MeasureUnits{profile} (required)

RuleSet: ValueOrReason
* obeys mh-value-or-reason

Invariant: mh-value-or-reason
Description: "There is a value, or the reason why there is none."
Severity: #error
Expression: "value.exists() or dataAbsentReason.exists()"

Invariant: mh-period-closed
Description: "The period has a start and an end, and does not end before it starts."
Severity: #error
Expression: "effective.start.exists() and effective.end.exists() and effective.start <= effective.end"

RuleSet: Beside(name, system, code)
* code.coding contains {name} 0..1
* code.coding[{name}].system 1..1
* code.coding[{name}].system = {system}
* code.coding[{name}].code 1..1
* code.coding[{name}].code = #{code}

Profile: HeartRate
Parent: http://hl7.org/fhir/StructureDefinition/heartrate
Id: mh-heart-rate
Title: "Heart rate"
Description: "One reading of the heart rate, by a wearable or by hand."
* insert Measured
* insert Beside(device, $mdc, 147842)

Profile: RespiratoryRate
Parent: http://hl7.org/fhir/StructureDefinition/resprate
Id: mh-respiratory-rate
Title: "Breathing rate"
Description: "Breaths in a minute, counted or estimated by a wearable."
* insert Measured

Profile: OxygenSaturation
Parent: http://hl7.org/fhir/StructureDefinition/oxygensat
Id: mh-oxygen-saturation
Title: "Oxygen saturation"
Description: "Oxygen saturation by pulse oximetry, in percent and not as a fraction."
* insert Measured
* insert Beside(PulseOx, $loinc, 59408-5)
* insert Beside(device, $mdc, 150456)

Profile: BodyTemperature
Parent: http://hl7.org/fhir/StructureDefinition/bodytemp
Id: mh-body-temperature
Title: "Body temperature"
Description: "Temperature of the body; basal temperature is said by a second code beside LOINC's."
* insert Measured
* insert Beside(device, $mdc, 150364)
* insert Beside(basal, $sct, 300076005)

Profile: BodyWeight
Parent: http://hl7.org/fhir/StructureDefinition/bodyweight
Id: mh-body-weight
Title: "Body weight"
Description: "Weight from a scale or as the person says."
* insert Measured

Profile: BodyHeight
Parent: http://hl7.org/fhir/StructureDefinition/bodyheight
Id: mh-body-height
Title: "Body height"
Description: "Height of the body."
* insert Measured
* extension contains $body-position named bodyPosition 0..1
* extension[bodyPosition] ^short = "Standing or lying, where it is known"

Profile: HeadCircumference
Parent: http://hl7.org/fhir/StructureDefinition/headcircum
Id: mh-head-circumference
Title: "Head circumference"
Description: "Head circumference of a child, measured at home."
* insert Measured

Profile: BodyMassIndex
Parent: http://hl7.org/fhir/StructureDefinition/bmi
Id: mh-bmi
Title: "Body mass index"
Description: "Body mass index as an app computes it; what it was computed from stands in derivedFrom."
* insert Measured

Profile: BloodPressure
Parent: http://hl7.org/fhir/StructureDefinition/bp
Id: mh-blood-pressure
Title: "Blood pressure"
Description: "One reading of a blood pressure monitor. Two readings a minute or two apart are two Observations. Cuff and position of the body are components."
* insert Measured
* component contains MeanBP 0..1
* component[MeanBP] ^short = "Mean pressure, where the device gives it"
* component[MeanBP].code.coding ^slicing.discriminator[0].type = #value
* component[MeanBP].code.coding ^slicing.discriminator[0].path = "code"
* component[MeanBP].code.coding ^slicing.discriminator[1].type = #value
* component[MeanBP].code.coding ^slicing.discriminator[1].path = "system"
* component[MeanBP].code.coding ^slicing.rules = #open
* component[MeanBP].code.coding contains MBPCode 1..1
* component[MeanBP].code.coding[MBPCode].system 1..1
* component[MeanBP].code.coding[MBPCode].system = $loinc
* component[MeanBP].code.coding[MBPCode].code 1..1
* component[MeanBP].code.coding[MBPCode].code = #8478-0
* component[MeanBP].value[x] only Quantity
* component[MeanBP].valueQuantity.value 1..1
* component[MeanBP].valueQuantity.system 1..1
* component[MeanBP].valueQuantity.system = $ucum
* component[MeanBP].valueQuantity.code 1..1
* component[MeanBP].valueQuantity.code = #mm[Hg]
* component contains PulsePressure 0..1
* component[PulsePressure] ^short = "Systolic less diastolic pressure, where the device gives it"
* component[PulsePressure].code.coding ^slicing.discriminator[0].type = #value
* component[PulsePressure].code.coding ^slicing.discriminator[0].path = "code"
* component[PulsePressure].code.coding ^slicing.discriminator[1].type = #value
* component[PulsePressure].code.coding ^slicing.discriminator[1].path = "system"
* component[PulsePressure].code.coding ^slicing.rules = #open
* component[PulsePressure].code.coding contains PPCode 1..1
* component[PulsePressure].code.coding[PPCode].system 1..1
* component[PulsePressure].code.coding[PPCode].system = $sct
* component[PulsePressure].code.coding[PPCode].code 1..1
* component[PulsePressure].code.coding[PPCode].code = #87179004
* component[PulsePressure].value[x] only Quantity
* component[PulsePressure].valueQuantity.value 1..1
* component[PulsePressure].valueQuantity.system 1..1
* component[PulsePressure].valueQuantity.system = $ucum
* component[PulsePressure].valueQuantity.code 1..1
* component[PulsePressure].valueQuantity.code = #mm[Hg]

Profile: BloodPressureAverage
Parent: BloodPressure
Id: mh-blood-pressure-average
Title: "Average blood pressure"
Description: "The average of two or more readings, which are kept and named in derivedFrom."
* extension[recordingMethod].valueCode = #derived
* derivedFrom 2..*
* derivedFrom only Reference($vital-signs)

Profile: Measurement
Parent: Observation
Id: mh-measurement
Title: "Single measurement"
Description: "One value at one time for which R4 has no vital sign: pulse, heart rate variability, body composition, fitness and the like."
* insert Measured
* insert Coded(Measurement)
* insert InUnits(Measurement)
* insert ValueOrReason

Profile: Interval
Parent: Observation
Id: mh-interval
Title: "Amount over a period"
Description: "What is counted or summed over a period: steps, distance, energy, food. Periods of one source do not overlap, and sources are never summed."
* insert Measured
* insert Coded(Interval)
* insert InUnits(Interval)
* insert ValueOrReason
* extension contains Completeness named completeness 0..1
* effective[x] only Period
* obeys mh-period-closed

Profile: Daily
Parent: Observation
Id: mh-daily
Title: "Value of a day or a week"
Description: "One value for a day or a week: which statistic it is, and by which midnight the day was cut."
* insert Measured
* insert Coded(Daily)
* insert InUnits(Daily)
* insert ValueOrReason
* extension contains
    Completeness named completeness 0..1 and
    TimeZone named timeZone 1..1 and
    StatisticExtension named statistic 0..1
* effective[x] only dateTime or Period

Profile: Series
Parent: Observation
Id: mh-series
Title: "Series"
Description: "A stretch of equally spaced samples. A profile that fixes a single quantity, such as R4's heart rate, is not claimed beside it. What was not measured is E, never an invented value."
* insert Measured
* insert Coded(Series)
* insert ValueOrReason
* insert Sampled(Series)

RuleSet: Sampled(profile)
* extension contains Completeness named completeness 0..1
* status from SeriesStatus (required)
* effective[x] only Period
* obeys mh-period-closed
* value[x] only SampledData
* valueSampledData.origin.system 1..1
* valueSampledData.origin.system = $ucum
* valueSampledData.origin.code 1..1
* valueSampledData.origin.code from MeasureUnits{profile} (required)
* valueSampledData.dimensions = 1
* valueSampledData.data 1..1

ValueSet: SeriesStatus
Id: series-status
Title: "Status of a series"
Description: "A stretch that still grows is preliminary; a closed one is final."
* http://hl7.org/fhir/observation-status#preliminary
* http://hl7.org/fhir/observation-status#final
* http://hl7.org/fhir/observation-status#amended
* http://hl7.org/fhir/observation-status#corrected
* http://hl7.org/fhir/observation-status#entered-in-error

Profile: Session
Parent: Observation
Id: mh-session
Title: "Exercise session"
Description: "One bout of exercise: which kind, from when to when, and what was measured during it."
* insert Measured
* insert Coded(Session)
* effective[x] only Period
* obeys mh-period-closed
* value[x] 1..1
* value[x] only CodeableConcept
* valueCodeableConcept from ExerciseAll (extensible)
* component.value[x] only Quantity
* component.valueQuantity.system 1..1
* component.valueQuantity.system = $ucum
* component.valueQuantity.code 1..1

Profile: Sleep
Parent: Observation
Id: mh-sleep
Title: "Sleep"
Description: "The sleep of a night or a nap: how long in all, and in components how long in each stage. Also one of its parts alone."
* insert Measured
* insert Coded(Sleep)
* insert InUnits(Sleep)
* insert ValueOrReason
* extension contains
    Completeness named completeness 0..1 and
    TimeZone named timeZone 0..1
* effective[x] only Period
* obeys mh-period-closed
* component.code from MeasureCodesSleep (required)
* component.value[x] only Quantity
* component.valueQuantity.system 1..1
* component.valueQuantity.system = $ucum
* component.valueQuantity.code 1..1
* component.valueQuantity.code from MeasureUnitsSleep (required)

Profile: SleepStageProfile
Parent: Observation
Id: mh-sleep-stage
Title: "Stage of sleep"
Description: "One stretch of one stage of sleep."
* insert Measured
* insert Coded(SleepStage)
* effective[x] only Period
* obeys mh-period-closed
* value[x] 1..1
* value[x] only CodeableConcept
* valueCodeableConcept from SleepStage (required)

Profile: Glucose
Parent: Observation
Id: mh-glucose
Title: "Glucose"
Description: "One value of glucose, ketones or glycated haemoglobin. The LOINC code says whether it is a mass or an amount of substance, and changes with the unit."
* insert Measured
* insert Coded(Glucose)
* insert InUnits(Glucose)
* insert ValueOrReason
* extension contains MealTimeExtension named mealTime 0..1
* category 1..*
* effective[x] only dateTime

Profile: GlucoseSeries
Parent: Observation
Id: mh-cgm
Title: "Continuous glucose"
Description: "A stretch of a continuous glucose sensor."
* insert Measured
* insert Coded(Cgm)
* insert ValueOrReason
* insert Sampled(Cgm)
* category 1..*
* device 1..1

Profile: GlucoseSummary
Parent: Observation
Id: mh-cgm-summary
Title: "Summary of continuous glucose"
Description: "Mean, variability, times in ranges and wear of the sensor over some weeks: one by one, as components of one summary, or as a summary that names them as its members."
* insert Measured
* insert Coded(CgmSummary)
* extension contains Completeness named completeness 0..1
* effective[x] only Period
* obeys mh-period-closed and mh-summary-content
* value[x] only Quantity
* valueQuantity.system 1..1
* valueQuantity.system = $ucum
* valueQuantity.code 1..1
* valueQuantity.code from MeasureUnitsCgmSummary (required)
* component.code from MeasureCodesCgmSummary (required)
* component.value[x] only Quantity

Invariant: mh-summary-content
Description: "A summary has a value, components or members."
Severity: #error
Expression: "value.exists() or component.exists() or hasMember.exists() or dataAbsentReason.exists()"

Profile: LungFunction
Parent: Observation
Id: mh-lung
Title: "Lung function"
Description: "A value of a peak flow meter or a spirometer at home: the best of the blows of a session."
* insert Measured
* insert Coded(Lung)
* insert InUnits(Lung)
* insert ValueOrReason
* effective[x] only dateTime

Profile: Ecg
Parent: Observation
Id: mh-ecg
Title: "Electrocardiogram"
Description: "A short recording of a watch or patch, one component a lead."
* insert Measured
* insert Coded(Ecg)
* value[x] 0..0
* component 1..*
* component.code from EcgLead (required)
* component.value[x] only SampledData
* component.valueSampledData.origin.system 1..1
* component.valueSampledData.origin.system = $ucum
* component.valueSampledData.origin.code 1..1
* component.valueSampledData.origin.code from EcgUnit (required)
* component.valueSampledData.data 1..1
* interpretation ^short = "What the device says of the rhythm; no diagnosis"

ValueSet: EcgUnit
Id: ecg-unit
Title: "Units of an electrocardiogram"
Description: "Millivolt or microvolt."
* $ucum#mV
* $ucum#uV

Profile: Event
Parent: Observation
Id: mh-event
Title: "Event"
Description: "Something that a device noticed, such as an irregular rhythm. It is a hint and no diagnosis."
* insert Measured
* insert Coded(Event)
* value[x] only CodeableConcept or boolean
* insert ValueOrReason

Profile: Score
Parent: Observation
Id: mh-score
Title: "Score"
Description: "The score of a questionnaire or a rating. The answers stand beside it in a QuestionnaireResponse where they were kept."
* insert Measured
* insert Coded(Score)
* insert InUnits(Score)
* insert ValueOrReason
* derivedFrom only Reference(QuestionnaireResponse or Observation)

Profile: ConsciousnessProfile
Parent: Observation
Id: mh-consciousness
Title: "Level of consciousness"
Description: "How awake a person is, as somebody who is with her finds: a word of ACVPU, and beside it what the sender calls it."
* insert Measured
* insert Coded(Consciousness)
* value[x] only CodeableConcept
* valueCodeableConcept from ConsciousnessAll (extensible)
* insert ValueOrReason

Profile: SelfReport
Parent: Observation
Id: mh-self-report
Title: "Own report"
Description: "What a person tells and no device measures: smoking, bleeding, the last period."
* insert Measured
* insert Coded(SelfReport)
* extension[recordingMethod].valueCode = #manual
* value[x] only CodeableConcept or dateTime or boolean
* insert ValueOrReason
