// Valid examples, at least two a profile. The invalid ones are these with one thing changed: see invalid.json.

RuleSet: Record(key, method)
* meta.tag[origin] = DataOrigin#patient-generated
* identifier.system = "https://app.example.org/records"
* identifier.value = "{key}"
* extension[recordingMethod].valueCode = #{method}

RuleSet: Told(key, method)
* insert Record({key}, {method})
* status = #final
* subject = Reference(anna)

RuleSet: At(time)
* effectiveDateTime = "{time}"

RuleSet: From(start, end)
* effectivePeriod.start = "{start}"
* effectivePeriod.end = "{end}"

RuleSet: Is(value, unit, shown)
* valueQuantity.value = {value}
* valueQuantity.unit = "{shown}"
* valueQuantity.system = $ucum
* valueQuantity.code = #{unit}

// People, devices, programs

Instance: anna
InstanceOf: Person
Title: "A person by pseudonym"
Usage: #example
* identifier.system = "https://app.example.org/persons"
* identifier.value = "7f0c1f3e-52b5-4a54-9f3a-0f4f1e5b8a01"
* gender = #female
* birthDate = "1971"

Instance: ben
InstanceOf: Person
Title: "A person of whom nothing else is known"
Usage: #example
* identifier.system = "https://app.example.org/persons"
* identifier.value = "b1d6a3c8-9f0e-4e0a-8a55-2f7c2ad0c9d2"

Instance: watch
InstanceOf: Wearable
Title: "A watch"
Usage: #example
* type = DeviceKind#watch
* manufacturer = "Example Wearables"
* modelNumber = "W-5"
* deviceName.name = "Watch 5"
* deviceName.type = #model-name
* version.value = "9.2.1"

Instance: cuff
InstanceOf: Wearable
Title: "A blood pressure monitor"
Usage: #example
* type = DeviceKind#cuff
* manufacturer = "Example Medical"
* modelNumber = "BP-200"
* deviceName.name = "Upper arm monitor"
* deviceName.type = #user-friendly-name
* version.type.text = "firmware"
* version.value = "1.4"

Instance: sensor
InstanceOf: Wearable
Title: "A glucose sensor"
Usage: #example
* type = DeviceKind#glucose-sensor
* manufacturer = "Example Medical"
* deviceName.name = "G-Sense"
* deviceName.type = #model-name
* version.value = "3.0.4"

Instance: phone-android
InstanceOf: Phone
Title: "A phone"
Usage: #example
* deviceName.name = "Phone 12"
* deviceName.type = #model-name
* version.type.text = "operating system"
* version.value = "16"

Instance: tablet
InstanceOf: Phone
Title: "A tablet"
Usage: #example
* manufacturer = "Example Electronics"
* deviceName.name = "Tablet S"
* deviceName.type = #model-name
* version.value = "26.1"

Instance: diary-app
InstanceOf: App
Title: "An app"
Usage: #example
* identifier.system = "https://register.example.org/apps"
* identifier.value = "heart-diary"
* deviceName.name = "Heart diary"
* deviceName.type = #user-friendly-name
* version.value = "4.11.0"

Instance: sugar-app
InstanceOf: App
Title: "An app of a maker who is named"
Usage: #example
* identifier.system = "https://register.example.org/apps"
* identifier.value = "sugar-log"
* manufacturer = "Example Health"
* deviceName.name = "Sugar log"
* deviceName.type = #user-friendly-name
* version.value = "2.0.3"

Instance: glucose-channel
InstanceOf: Metric
Title: "A calibrated glucose sensor"
Usage: #example
* type = $mdc#160212
* source = Reference(sensor)
* category = #measurement
* calibration.type = #two-point
* calibration.state = #calibrated
* calibration.time = "2026-05-01T07:00:00Z"

Instance: scale-channel
InstanceOf: Metric
Title: "A sensor whose calibration is due"
Usage: #example
* type = $mdc#188736
* source = Reference(cuff)
* category = #measurement
* calibration.state = #calibration-required
* calibration.time = "2026-04-11T10:30:00Z"

// Vital signs

Instance: heart-rate-watch
InstanceOf: HeartRate
Title: "Heart rate of a watch"
Usage: #example
* insert Told(hr-1, automatic)
* extension[app].valueReference = Reference(diary-app)
* insert At(2026-05-04T08:12:00+02:00)
* code.coding[HeartRateCode].display = "Heart rate"
* code.coding[device] = $mdc#147842
* insert Is(64, /min, beats a minute)
* device = Reference(watch)

Instance: heart-rate-by-hand
InstanceOf: HeartRate
Title: "Heart rate that was counted by hand"
Usage: #example
* insert Told(hr-2, manual)
* insert At(2026-05-04)
* insert Is(72, /min, beats a minute)

Instance: respiratory-rate-night
InstanceOf: RespiratoryRate
Title: "Breathing rate of a night"
Usage: #example
* insert Told(rr-1, automatic)
* insert At(2026-05-04T06:40:00+02:00)
* insert Is(14, /min, breaths a minute)
* device = Reference(watch)

Instance: respiratory-rate-counted
InstanceOf: RespiratoryRate
Title: "Breathing rate that was counted"
Usage: #example
* insert Told(rr-2, manual)
* insert At(2026-05-04T09:00:00+02:00)
* insert Is(18, /min, breaths a minute)

Instance: oxygen-saturation-finger
InstanceOf: OxygenSaturation
Title: "Oxygen saturation at the finger"
Usage: #example
* insert Told(ox-1, automatic)
* insert At(2026-05-04T08:15:00+02:00)
* code.coding[PulseOx] = $loinc#59408-5
* code.coding[device] = $mdc#150456
* insert Is(97, %, %)

Instance: oxygen-saturation-none
InstanceOf: OxygenSaturation
Title: "A measurement that failed"
Usage: #example
* insert Told(ox-2, automatic)
* insert At(2026-05-04T08:20:00+02:00)
* code.coding[PulseOx] = $loinc#59408-5
* dataAbsentReason = $absent#error

Instance: body-temperature-fever
InstanceOf: BodyTemperature
Title: "Fever"
Usage: #example
* insert Told(te-1, automatic)
* insert At(2026-05-04T20:00:00+02:00)
* insert Is(38.4, Cel, °C)

Instance: body-temperature-basal
InstanceOf: BodyTemperature
Title: "Basal temperature"
Usage: #example
* insert Told(te-2, manual)
* insert At(2026-05-05T06:30:00+02:00)
* code.coding[basal] = $sct#300076005
* insert Is(36.55, Cel, °C)

Instance: body-weight-scale
InstanceOf: BodyWeight
Title: "Weight of a scale"
Usage: #example
* insert Told(we-1, automatic)
* insert At(2026-05-04T07:00:00+02:00)
* insert Is(72.4, kg, kg)

Instance: body-weight-converted
InstanceOf: BodyWeight
Title: "Weight that an app converted"
Usage: #example
* insert Told(we-2, automatic)
* extension[originalValue].valueQuantity = 160 '[lb_av]' "lb"
* extension[delay].valueDuration = 35 'min' "min"
* insert At(2026-05-05T07:00:00+02:00)
* insert Is(72.575, kg, kg)

Instance: body-height-told
InstanceOf: BodyHeight
Title: "Height as told"
Usage: #example
* insert Told(he-1, manual)
* insert At(2026-05-04)
* insert Is(171, cm, cm)

Instance: body-height-standing
InstanceOf: BodyHeight
Title: "Height of a person who stood"
Usage: #example
* insert Told(he-3, manual)
* extension[bodyPosition].valueCodeableConcept = $sct#10904000
* insert At(2026-05-07)
* insert Is(171, cm, cm)

Instance: body-height-child
InstanceOf: BodyHeight
Title: "Height of a child"
Usage: #example
* insert Told(he-2, manual)
* insert At(2026-05-06)
* insert Is(92.5, cm, cm)

Instance: head-circumference-tape
InstanceOf: HeadCircumference
Title: "Head circumference by tape"
Usage: #example
* insert Told(hc-1, manual)
* insert At(2026-05-04)
* insert Is(44.2, cm, cm)

Instance: head-circumference-later
InstanceOf: HeadCircumference
Title: "Head circumference a month later"
Usage: #example
* insert Told(hc-2, manual)
* insert At(2026-06-04)
* insert Is(45, cm, cm)

Instance: bmi-computed
InstanceOf: BodyMassIndex
Title: "Body mass index of a scale"
Usage: #example
* insert Told(bm-1, derived)
* insert At(2026-05-04T07:00:00+02:00)
* insert Is(24.8, kg/m2, kg/m²)
* derivedFrom[+] = Reference(body-weight-scale)
* derivedFrom[+] = Reference(body-height-told)

Instance: bmi-typed
InstanceOf: BodyMassIndex
Title: "Body mass index as typed"
Usage: #example
* insert Told(bm-2, manual)
* insert At(2026-05-04)
* insert Is(25, kg/m2, kg/m²)

RuleSet: Pressures(high, low)
* component[SystolicBP].valueQuantity.value = {high}
* component[SystolicBP].valueQuantity.unit = "mmHg"
* component[DiastolicBP].valueQuantity.value = {low}
* component[DiastolicBP].valueQuantity.unit = "mmHg"

Instance: blood-pressure-first
InstanceOf: BloodPressure
Title: "First reading of a morning"
Usage: #example
* insert Told(bp-1, automatic)
* insert At(2026-05-04T07:05:00+02:00)
* insert Pressures(138, 86)
* device = Reference(cuff)

Instance: blood-pressure-second
InstanceOf: BloodPressure
Title: "Second reading, with the mean pressure"
Usage: #example
* insert Told(bp-2, automatic)
* insert At(2026-05-04T07:07:00+02:00)
* insert Pressures(132, 84)
* component[MeanBP].valueQuantity.value = 100
* component[MeanBP].valueQuantity.unit = "mmHg"
* device = Reference(cuff)

Instance: blood-pressure-pulse
InstanceOf: BloodPressure
Title: "Reading with the pulse pressure"
Usage: #example
* insert Told(bp-5, automatic)
* insert At(2026-05-04T21:30:00+02:00)
* insert Pressures(132, 84)
* component[PulsePressure].valueQuantity.value = 48
* component[PulsePressure].valueQuantity.unit = "mmHg"
* device = Reference(cuff)

Instance: blood-pressure-average-morning
InstanceOf: BloodPressureAverage
Title: "Average of a morning"
Usage: #example
* insert Told(bp-3, derived)
* insert At(2026-05-04T07:07:00+02:00)
* insert Pressures(135, 85)
* derivedFrom[+] = Reference(blood-pressure-first)
* derivedFrom[+] = Reference(blood-pressure-second)

Instance: blood-pressure-average-week
InstanceOf: BloodPressureAverage
Title: "Average of a week"
Usage: #example
* insert Told(bp-4, derived)
* insert At(2026-05-10)
* insert Pressures(134, 84)
* derivedFrom[+] = Reference(blood-pressure-first)
* derivedFrom[+] = Reference(blood-pressure-second)
* derivedFrom[+] = Reference(blood-pressure-average-morning)

// Other measurements

Instance: hrv-night
InstanceOf: Measurement
Title: "Heart rate variability of a night"
Usage: #example
* insert Told(me-1, automatic)
* insert From(2026-05-03T23:10:00+02:00, 2026-05-04T06:40:00+02:00)
* code = MeasureCode#hrv-rmssd
* insert Is(42, ms, ms)
* device = Reference(watch)

Instance: waist
InstanceOf: Measurement
Title: "Waist"
Usage: #example
* insert Told(me-2, manual)
* insert At(2026-05-04)
* code.coding[+] = $loinc#8280-0
* code.coding[+] = $sct#276361009
* insert Is(88, cm, cm)

Instance: body-fat
InstanceOf: Measurement
Title: "Body fat of a scale, with a code of devices alone"
Usage: #example
* insert Told(me-3, automatic)
* insert At(2026-05-04T07:00:00+02:00)
* code = $mdc#188748
* insert Is(27.3, %, %)

Instance: steps-quarter
InstanceOf: Interval
Title: "Steps of a quarter of an hour"
Usage: #example
* insert Told(in-1, automatic)
* insert From(2026-05-04T08:00:00+02:00, 2026-05-04T08:15:00+02:00)
* code = $loinc#55423-8
* insert Is(812, {steps}, steps)
* device = Reference(phone-android)

Instance: energy-of-a-meal
InstanceOf: Interval
Title: "Energy of a meal"
Usage: #example
* insert Told(in-2, manual)
* insert From(2026-05-04T12:00:00+02:00, 2026-05-04T12:30:00+02:00)
* code = $loinc#9052-2
* insert Is(640, kcal, kcal)

Instance: steps-day
InstanceOf: Daily
Title: "Steps of a day"
Usage: #example
* insert Told(da-1, automatic)
* extension[timeZone].valueCode = #Europe/Helsinki
* extension[statistic].valueCode = #sum
* extension[completeness].valueQuantity = 92 '%' "%"
* insert At(2026-05-04)
* code = $loinc#41950-7
* insert Is(9412, {steps}/d, steps a day)
* device = Reference(watch)

Instance: resting-heart-rate-day
InstanceOf: Daily
Title: "Resting heart rate of a day"
Usage: #example
* insert Told(da-2, derived)
* extension[timeZone].valueCode = #Europe/Berlin
* insert At(2026-05-04)
* code = $loinc#40443-4
* insert Is(58, /min, beats a minute)

RuleSet: Samples(origin, unit, period, data)
* valueSampledData.origin.value = {origin}
* valueSampledData.origin.system = $ucum
* valueSampledData.origin.code = #{unit}
* valueSampledData.period = {period}
* valueSampledData.dimensions = 1
* valueSampledData.data = "{data}"

Instance: heart-rate-hour
InstanceOf: Series
Title: "Heart rate of an hour, every five minutes"
Usage: #example
* insert Told(se-1, automatic)
* extension[completeness].valueQuantity = 92 '%' "%"
* insert From(2026-05-04T08:00:00+02:00, 2026-05-04T09:00:00+02:00)
* code = $loinc#8867-4
* insert Samples(0, /min, 300000, 62 64 66 71 E 88 93 90 84 76 70 66)
* device = Reference(watch)

Instance: oxygen-night
InstanceOf: Series
Title: "Oxygen saturation of a night that still grows"
Usage: #example
* insert Record(se-2, automatic)
* status = #preliminary
* subject = Reference(anna)
* insert From(2026-05-03T23:00:00+02:00, 2026-05-04T00:30:00+02:00)
* code = $loinc#59408-5
* insert Samples(0, %, 900000, 97 96 96 95 96 97)

Instance: run
InstanceOf: Session
Title: "A run"
Usage: #example
* insert Told(ex-1, automatic)
* insert From(2026-05-04T18:00:00+02:00, 2026-05-04T18:42:00+02:00)
* code = $loinc#73985-4
* valueCodeableConcept = Exercise#running
* component[+].code = $loinc#55430-3
* component[=].valueQuantity = 7350 'm' "m"
* component[+].code = $loinc#41981-2
* component[=].valueQuantity = 512 'kcal' "kcal"
* device = Reference(watch)

Instance: walk-typed
InstanceOf: Session
Title: "A walk that was typed in"
Usage: #example
* insert Told(ex-2, manual)
* insert From(2026-05-05T10:00:00+02:00, 2026-05-05T10:30:00+02:00)
* code = $loinc#73985-4
* valueCodeableConcept = Exercise#walking

Instance: sleep-night
InstanceOf: Sleep
Title: "A night's sleep"
Usage: #example
* insert Told(sl-1, automatic)
* extension[timeZone].valueCode = #Europe/Madrid
* insert From(2026-05-03T23:12:00+02:00, 2026-05-04T06:48:00+02:00)
* code.coding[+] = $loinc#93832-4
* code.coding[+] = $sct#258158006
* insert Is(412, min, min)
* component[+].code = $loinc#93831-6
* component[=].valueQuantity = 78 'min' "min"
* component[+].code = $loinc#93830-8
* component[=].valueQuantity = 241 'min' "min"
* component[+].code = $loinc#93829-0
* component[=].valueQuantity = 93 'min' "min"
* component[+].code = $loinc#93828-2
* component[=].valueQuantity = 29 'min' "min"
* device = Reference(watch)

Instance: time-in-bed
InstanceOf: Sleep
Title: "Time in bed alone"
Usage: #example
* insert Told(sl-2, manual)
* insert From(2026-05-03T22:45:00+02:00, 2026-05-04T07:00:00+02:00)
* code = $loinc#103213-5
* insert Is(495, min, min)

Instance: deep-sleep
InstanceOf: SleepStageProfile
Title: "A stretch of sleep with rapid eye movement"
Usage: #example
* insert Told(st-1, automatic)
* insert From(2026-05-04T01:30:00+02:00, 2026-05-04T01:52:00+02:00)
* code = MeasureCode#sleep-stage
* valueCodeableConcept = $sct#89129007

Instance: awake
InstanceOf: SleepStageProfile
Title: "Awake in the night"
Usage: #example
* insert Told(st-2, automatic)
* insert From(2026-05-04T03:02:00+02:00, 2026-05-04T03:09:00+02:00)
* code = MeasureCode#sleep-stage
* valueCodeableConcept = $sct#248218005

Instance: glucose-fasting
InstanceOf: Glucose
Title: "Glucose before breakfast, in mmol/L"
Usage: #example
* insert Told(gl-1, automatic)
* extension[mealTime].valueCode = #fasting
* insert At(2026-05-04T06:55:00+02:00)
* category = $category#laboratory
* code.coding[+] = $loinc#14743-9
* code.coding[+] = $sct#434912009
* insert Is(5.4, mmol/L, mmol/L)

Instance: glucose-after-meal
InstanceOf: Glucose
Title: "Glucose after lunch, in mg/dL"
Usage: #example
* insert Told(gl-2, manual)
* extension[mealTime].valueCode = #after
* insert At(2026-05-04T14:10:00+02:00)
* category = $category#laboratory
* code = $loinc#41653-7
* insert Is(141, mg/dL, mg/dL)

Instance: cgm-hour
InstanceOf: GlucoseSeries
Title: "An hour of a glucose sensor"
Usage: #example
* insert Told(cg-1, automatic)
* extension[calibration].valueCode = #calibrated
* insert From(2026-05-04T08:00:00+02:00, 2026-05-04T09:00:00+02:00)
* category = $category#laboratory
* code = $loinc#99504-3
* insert Samples(0, mg/dL, 300000, 104 108 112 119 127 134 139 142 140 136 131 126)
* device = Reference(glucose-channel)

Instance: cgm-hour-molar
InstanceOf: GlucoseSeries
Title: "An hour with a gap, in mmol/L"
Usage: #example
* insert Told(cg-2, automatic)
* insert From(2026-05-04T09:00:00+02:00, 2026-05-04T10:00:00+02:00)
* category = $category#laboratory
* code = $loinc#105272-9
* insert Samples(0, mmol/L, 600000, 6.9 6.6 E E 6.1 6)
* device = Reference(sensor)

Instance: cgm-time-in-range
InstanceOf: GlucoseSummary
Title: "Time in range of two weeks"
Usage: #example
* insert Told(cs-1, derived)
* extension[completeness].valueQuantity = 96 '%' "%"
* insert From(2026-05-01T00:00:00+02:00, 2026-05-15T00:00:00+02:00)
* code = $loinc#97510-2
* insert Is(74, %, %)

Instance: cgm-summary-weeks
InstanceOf: GlucoseSummary
Title: "Summary of two weeks"
Usage: #example
* insert Told(cs-2, derived)
* insert From(2026-05-01T00:00:00+02:00, 2026-05-15T00:00:00+02:00)
* code = $loinc#107931-8
* component[+].code = $loinc#97507-8
* component[=].valueQuantity = 148 'mg/dL' "mg/dL"
* component[+].code = $loinc#97506-0
* component[=].valueQuantity = 6.9 '%' "%"
* component[+].code = $loinc#104638-2
* component[=].valueQuantity = 33 '%' "%"
* component[+].code = $loinc#104636-6
* component[=].valueQuantity = 14 'd' "d"
* component[+].code = $loinc#104637-4
* component[=].valueQuantity = 96 '%' "%"
* hasMember = Reference(cgm-ranges)

Instance: cgm-ranges
InstanceOf: GlucoseSummary
Title: "Times in ranges of two weeks"
Usage: #example
* insert Told(cs-3, derived)
* insert From(2026-05-01T00:00:00+02:00, 2026-05-15T00:00:00+02:00)
* code = $loinc#106793-3
* component[+].code = $loinc#104642-4
* component[=].valueQuantity = 1 '%' "%"
* component[+].code = $loinc#104641-6
* component[=].valueQuantity = 4 '%' "%"
* component[+].code = $loinc#97510-2
* component[=].valueQuantity = 74 '%' "%"
* component[+].code = $loinc#104640-8
* component[=].valueQuantity = 17 '%' "%"
* component[+].code = $loinc#104639-0
* component[=].valueQuantity = 4 '%' "%"

Instance: peak-flow-morning
InstanceOf: LungFunction
Title: "Peak flow of a morning"
Usage: #example
* insert Told(lu-1, manual)
* insert At(2026-05-04T07:10:00+02:00)
* code = $loinc#19935-6
* insert Is(430, L/min, L/min)

Instance: fev1-home
InstanceOf: LungFunction
Title: "Volume of the first second, at home"
Usage: #example
* insert Told(lu-2, automatic)
* insert At(2026-05-04T07:12:00+02:00)
* code.coding[+] = $loinc#20150-9
* code.coding[+] = $mdc#152586
* insert Is(2.61, L, L)

RuleSet: Lead(code, data)
* component[+].code = $mdc#{code}
* component[=].valueSampledData.origin.value = 0
* component[=].valueSampledData.origin.system = $ucum
* component[=].valueSampledData.origin.code = #mV
* component[=].valueSampledData.period = 4
* component[=].valueSampledData.dimensions = 1
* component[=].valueSampledData.data = "{data}"

Instance: ecg-watch
InstanceOf: Ecg
Title: "A short piece of lead I"
Usage: #example
* insert Told(ec-1, automatic)
* insert From(2026-05-04T08:30:00.000+02:00, 2026-05-04T08:30:00.032+02:00)
* code = $loinc#11524-6
* insert Lead(131329, 0.02 0.03 0.11 0.84 0.35 -0.12 0.01 0.02)
* device = Reference(watch)

Instance: ecg-patch
InstanceOf: Ecg
Title: "Two leads of a patch"
Usage: #example
* insert Told(ec-2, automatic)
* insert At(2026-05-04T08:31:00+02:00)
* code = $loinc#11524-6
* insert Lead(131329, 0.02 0.03 0.11 0.84)
* insert Lead(131330, 0.01 0.05 0.14 0.92)

Instance: irregular-rhythm
InstanceOf: Event
Title: "An irregular rhythm was noticed"
Usage: #example
* insert Told(ev-1, automatic)
* insert At(2026-05-04T04:11:00+02:00)
* code = $pghd#irregularHeartRhythmEvent
* valueBoolean = true
* device = Reference(watch)

Instance: irregular-rhythm-none
InstanceOf: Event
Title: "No irregular rhythm was noticed"
Usage: #example
* insert Told(ev-2, automatic)
* insert At(2026-05-05)
* code = $pghd#irregularHeartRhythmEvent
* valueBoolean = false
* device = Reference(watch)

Instance: phq9-score
InstanceOf: Score
Title: "Score of a depression questionnaire"
Usage: #example
* meta.security = $confidentiality#R
* insert Told(sc-1, derived)
* insert At(2026-05-04T21:00:00+02:00)
* code = $loinc#44261-6
* insert Is(7, {score}, points)
* derivedFrom = Reference(phq9-answers)

Instance: news2-home
InstanceOf: Score
Title: "Early warning score of a person who is cared for at home"
Usage: #example
* insert Told(sc-3, manual)
* insert At(2026-05-04T09:30:00+02:00)
* code = $sct#1104051000000101
* insert Is(4, {score}, points)
* component[+].code = $sct#1104301000000104
* component[=].valueQuantity = 2 '{score}' "points"
* component[+].code = $sct#1104351000000103
* component[=].valueQuantity = 1 '{score}' "points"
* component[+].code = $sct#1104371000000107
* component[=].valueQuantity = 1 '{score}' "points"

Instance: alert
InstanceOf: ConsciousnessProfile
Title: "A person who is awake"
Usage: #example
* insert Told(co-1, manual)
* insert At(2026-05-04T09:30:00+02:00)
* code = $sct#1104441000000107
* valueCodeableConcept = Consciousness#alert

Instance: confused
InstanceOf: ConsciousnessProfile
Title: "A person who is newly confused"
Usage: #example
* insert Told(co-2, manual)
* insert At(2026-05-05T22:10:00+02:00)
* code = $sct#1104441000000107
* valueCodeableConcept = Consciousness#confusion

Instance: pain-today
InstanceOf: Score
Title: "Pain of today"
Usage: #example
* insert Told(sc-2, manual)
* insert At(2026-05-04T21:05:00+02:00)
* code = $loinc#72514-3
* insert Is(3, {score}, points)

Instance: smoking
InstanceOf: SelfReport
Title: "Smoking, as told"
Usage: #example
* insert Told(re-1, manual)
* insert At(2026-05-04)
* code = $loinc#72166-2
* valueCodeableConcept = $loinc#LA15920-4

Instance: last-period
InstanceOf: SelfReport
Title: "Start of the last period"
Usage: #example
* meta.security = $confidentiality#R
* insert Told(re-2, manual)
* insert At(2026-05-04)
* code = $loinc#8665-2
* valueDateTime = "2026-04-22"

// Medicines and answers

Instance: dose-taken
InstanceOf: MedicationTaken
Title: "A dose that was taken"
Usage: #example
* insert Record(md-1, manual)
* status = #completed
* subject = Reference(anna)
* effectiveDateTime = "2026-05-04T08:00:00+02:00"
* medicationCodeableConcept = $sct#67866001
* dosage.dose = 6 '[iU]' "IU"

Instance: dose-left-out
InstanceOf: MedicationTaken
Title: "A dose that was left out"
Usage: #example
* insert Record(md-2, automatic)
* status = #not-done
* statusReason.text = "forgotten"
* subject = Reference(anna)
* effectiveDateTime = "2026-05-05T08:00:00+02:00"
* medicationCodeableConcept.text = "a blood pressure tablet"

Instance: phq9-answers
InstanceOf: Answers
Title: "Answers behind a score"
Usage: #example
* meta.security = $confidentiality#R
* insert Record(qr-1, manual)
* questionnaire = Canonical(phq-2)
* status = #completed
* subject = Reference(anna)
* authored = "2026-05-04T20:58:00+02:00"
* item[+].linkId = "interest"
* item[=].answer.valueCoding = $loinc#LA6569-3
* item[+].linkId = "down"
* item[=].answer.valueCoding = $loinc#LA6568-5

Instance: breathing-answers
InstanceOf: Answers
Title: "A day's breathing"
Usage: #example
* insert Record(qr-2, manual)
* questionnaire = Canonical(breathing-day)
* status = #completed
* subject = Reference(anna)
* authored = "2026-05-04T20:00:00+02:00"
* item[+].linkId = "woken"
* item[=].answer.valueBoolean = false
* item[+].linkId = "reliever"
* item[=].answer.valueInteger = 2
* item[+].linkId = "limited"
* item[=].answer.valueInteger = 1

// Origin, consent, trace

Instance: provenance-watch
InstanceOf: Origin
Title: "Sent by an app as a watch recorded it"
Usage: #example
* extension[mappingVersion].valueCanonical = Canonical(loinc-to-mdc)
* extension[recordingMethod].valueCode = #automatic
* target = Reference(heart-rate-watch)
* recorded = "2026-05-04T08:12:05+02:00"
* agent[app].who = Reference(diary-app)

Instance: provenance-average
InstanceOf: Origin
Title: "An average and what it was made of"
Usage: #example
* extension[recordingMethod].valueCode = #derived
* target = Reference(blood-pressure-average-morning)
* recorded = "2026-05-04T07:08:00+02:00"
* agent[app].who = Reference(diary-app)
* entity[+].role = #derivation
* entity[=].what = Reference(blood-pressure-first)
* entity[+].role = #derivation
* entity[=].what = Reference(blood-pressure-second)

RuleSet: Permits(actor)
* status = #active
* category = $loinc#59284-0
* patient = Reference(anna)
* dateTime = "2026-05-01"
* provision.provision[+].type = #permit
* provision.provision[=].actor.role = $participation#IRCP
* provision.provision[=].actor.reference = Reference({actor})
* provision.provision[=].purpose = $reason#TREAT

Instance: consent-app
InstanceOf: Permission
Title: "An app may send heart rate and blood pressure"
Usage: #example
* insert Permits(Organization/example-app)
* provision.provision[=].action[+] = $consentaction#collect
* provision.provision[=].action[+] = $consentaction#access
* provision.provision[=].code[+] = MeasureCategory#heart-rate
* provision.provision[=].code[+] = MeasureCategory#blood-pressure

Instance: consent-platform
InstanceOf: Permission
Title: "A platform may have everything but what is about mood"
Usage: #example
* insert Permits(Organization/example-platform)
* provision.provision[=].action = $consentaction#disclose
* provision.provision[=].provision.type = #deny
* provision.provision[=].provision.actor.role = $participation#IRCP
* provision.provision[=].provision.actor.reference = Reference(Organization/example-platform)
* provision.provision[=].provision.code = MeasureCategory#mental-health

Instance: sources-steps
InstanceOf: SourceOrder
Title: "The watch counts the steps, and the phone where the watch was not worn"
Usage: #example
* status = #current
* mode = #working
* code = $loinc#55423-8
* subject = Reference(anna)
* date = "2026-05-01"
* orderedBy = $listorder#priority
* entry[+].item.display = "Watch 5"
* entry[+].item.display = "Phone 9"

Instance: sources-all
InstanceOf: SourceOrder
Title: "Of everything about the heart rate, the strap around the chest counts first"
Usage: #example
* status = #current
* mode = #working
* code = MeasureCategory#heart-rate
* subject = Reference(anna)
* orderedBy = $listorder#priority
* entry[+].item.identifier.system = "https://app.example.org/devices"
* entry[=].item.identifier.value = "chest-strap-7"
* entry[+].item.display = "Watch 5"

Instance: audit-create
InstanceOf: Trace
Title: "An app sent a measurement"
Usage: #example
* type = $audit#rest
* subtype = $interaction#create
* action = #C
* recorded = "2026-05-04T08:12:06Z"
* outcome = #0
* purposeOfEvent = $reason#TREAT
* agent.type = $participation#IRCP
* agent.who = Reference(Organization/example-app)
* agent.requestor = true
* source.observer.display = "gateway"
* entity[+].what = Reference(anna)
* entity[=].role = http://terminology.hl7.org/CodeSystem/object-role#1
* entity[+].what = Reference(heart-rate-watch)
* entity[=].extension[category].valueCode = #heart-rate

Instance: audit-refusal
InstanceOf: Trace
Title: "A stranger was turned away"
Usage: #example
* type = http://dicom.nema.org/resources/ontology/DCM#110113
* action = #E
* recorded = "2026-05-04T09:00:00Z"
* outcome = #4
* agent.type = http://dicom.nema.org/resources/ontology/DCM#110150
* agent.who.display = "unknown"
* agent.requestor = true
* source.observer.display = "gateway"

// Bundles and listings

RuleSet: Create(type, resource, uuid)
* entry[+].fullUrl = "urn:uuid:{uuid}"
* entry[=].resource = {resource}
* entry[=].request.method = #POST
* entry[=].request.url = "{type}"

Instance: transaction-morning
InstanceOf: TransactionBundle
Title: "A morning's readings"
Usage: #example
* insert Create(Observation, blood-pressure-first, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a11)
* insert Create(Observation, body-weight-scale, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a12)

Instance: transaction-one
InstanceOf: TransactionBundle
Title: "One measurement"
Usage: #example
* insert Create(Observation, body-height-told, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a13)

RuleSet: Holds(resource, uuid)
* entry[+].fullUrl = "urn:uuid:{uuid}"
* entry[=].resource = {resource}

Instance: collection-day
InstanceOf: CollectionBundle
Title: "A day for a relative"
Usage: #example
* timestamp = "2026-05-04T22:00:00Z"
* insert Holds(steps-day, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a21)
* insert Holds(sleep-night, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a22)

Instance: collection-export
InstanceOf: CollectionBundle
Title: "A person's own export"
Usage: #example
* timestamp = "2026-05-31T12:00:00Z"
* insert Holds(anna, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a31)
* insert Holds(heart-rate-by-hand, 0b6b3f6e-6a3f-4c1f-9b58-5d5b6d0f2a32)

Instance: listing-diary
InstanceOf: AppListing
Title: "An app with a label"
Usage: #example
* identifier.system = "https://register.example.org/apps"
* identifier.value = "heart-diary"
* deviceName.name = "Heart diary"
* deviceName.type = #user-friendly-name
* manufacturerString = "Example Health"
* version = "4.11.0"
* extension[assessment].extension[scheme].valueCode = #ehds-label
* extension[assessment].extension[period].valuePeriod.start = "2026-03-01"
* extension[assessment].extension[period].valuePeriod.end = "2029-02-28"
* extension[category][+].valueCode = #heart-rate
* extension[category][+].valueCode = #blood-pressure

Instance: listing-sugar
InstanceOf: AppListing
Title: "An app that two schemes assessed"
Usage: #example
* identifier.system = "https://register.example.org/apps"
* identifier.value = "sugar-log"
* deviceName.name = "Sugar log"
* deviceName.type = #user-friendly-name
* manufacturerString = "Example Health"
* version = "2.0.3"
* extension[assessment][+].extension[scheme].valueCode = #iso-82304-2
* extension[assessment][=].extension[level].valueString = "B"
* extension[assessment][=].extension[evidence].valueUrl = "https://register.example.org/reports/sugar-log"
* extension[assessment][=].extension[period].valuePeriod.start = "2025-11-01"
* extension[assessment][+].extension[scheme].valueCode = #diga
* extension[assessment][=].extension[period].valuePeriod.start = "2026-01-15"
* extension[category].valueCode = #glucose
