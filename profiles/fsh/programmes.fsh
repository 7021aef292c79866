// Programme packs for chronic conditions: what is measured, how often, which questions are asked, and by which figures a
// programme sees whether it helps. The wording of questionnaires that others own is not repeated: the items carry LOINC
// codes, and the app shows the wording that it is entitled to.

RuleSet: Published(id, name, title, type)
* insert Addressed({type}, {id})
* name = "{name}"
* title = "{title}"
* status = #draft
* experimental = false
* publisher = "mHealth gateway"

RuleSet: Graded(item, code)
* item[+].linkId = "{item}"
* item[=].type = #choice
* item[=].required = true
* item[=].code = $loinc#{code}
* item[=].answerOption[0].valueCoding = $loinc#LA6568-5
* item[=].answerOption[1].valueCoding = $loinc#LA6569-3
* item[=].answerOption[2].valueCoding = $loinc#LA6570-1
* item[=].answerOption[3].valueCoding = $loinc#LA6571-9

RuleSet: Asked(item, kind, words)
* item[+].linkId = "{item}"
* item[=].type = #{kind}
* item[=].text = "{words}"
* item[=].required = true

RuleSet: Upto(most)
* item[=].extension[+].url = "http://hl7.org/fhir/StructureDefinition/minValue"
* item[=].extension[=].valueInteger = 0
* item[=].extension[+].url = "http://hl7.org/fhir/StructureDefinition/maxValue"
* item[=].extension[=].valueInteger = {most}

Instance: phq-2
InstanceOf: Questionnaire
Title: "Two questions on mood"
Usage: #definition
* insert Published(phq-2, Phq2, Two questions on mood, Questionnaire)
* description = "The two leading items of the PHQ-9; the app shows their wording."
* subjectType = #Patient
* code = $loinc#55757-9
* insert Graded(interest, 44250-9)
* insert Graded(down, 44255-8)

Instance: phq-9
InstanceOf: Questionnaire
Title: "Nine questions on mood"
Usage: #definition
* insert Published(phq-9, Phq9, Nine questions on mood, Questionnaire)
* description = "The PHQ-9 by its LOINC codes; the app shows the wording."
* subjectType = #Patient
* code = $loinc#44249-1
* insert Graded(interest, 44250-9)
* insert Graded(down, 44255-8)
* insert Graded(sleep, 44259-0)
* insert Graded(tired, 44254-1)
* insert Graded(appetite, 44251-7)
* insert Graded(failure, 44258-2)
* insert Graded(concentration, 44252-5)
* insert Graded(moving, 44253-3)
* insert Graded(harm, 44260-8)

Instance: gad-7
InstanceOf: Questionnaire
Title: "Seven questions on worry"
Usage: #definition
* insert Published(gad-7, Gad7, Seven questions on worry, Questionnaire)
* description = "The GAD-7 by its LOINC codes; the app shows the wording."
* subjectType = #Patient
* code = $loinc#69737-5
* insert Graded(nervous, 69725-0)
* insert Graded(control, 68509-9)
* insert Graded(worry, 69733-4)
* insert Graded(relax, 69734-2)
* insert Graded(restless, 69735-9)
* insert Graded(annoyed, 69689-8)
* insert Graded(afraid, 69736-7)

Instance: breathing-day
InstanceOf: Questionnaire
Title: "Breathing today"
Usage: #definition
* insert Published(breathing-day, BreathingDay, Breathing today, Questionnaire)
* description = "A short diary for people with asthma or COPD."
* subjectType = #Patient
* insert Asked(woken, boolean, Did trouble with breathing wake you last night?)
* insert Asked(reliever, integer, How many puffs of your reliever did you take today?)
* insert Upto(50)
* insert Asked(limited, integer, How much did your breathing hold you back today? 0 is not at all and 10 is completely.)
* insert Upto(10)

Instance: pressure-reading
InstanceOf: Questionnaire
Title: "Before measuring blood pressure"
Usage: #definition
* insert Published(pressure-reading, PressureReading, Before measuring blood pressure, Questionnaire)
* description = "What should be so before a reading counts."
* subjectType = #Patient
* insert Asked(rested, boolean, Have you been sitting still for five minutes?)
* insert Asked(stimulants, boolean, Have you smoked or had coffee or exercise in the last half hour?)
* insert Asked(tablets, boolean, Have you taken your tablets today?)

Instance: sugar-day
InstanceOf: Questionnaire
Title: "Diabetes today"
Usage: #definition
* insert Published(sugar-day, SugarDay, Diabetes today, Questionnaire)
* description = "A short diary beside the glucose values."
* subjectType = #Patient
* insert Asked(low, boolean, Did you feel a low today?)
* insert Asked(help, boolean, Did you need somebody to help you with a low?)
* insert Asked(meals, integer, How many meals did you have today?)
* insert Upto(20)

Instance: tobacco-alcohol
InstanceOf: Questionnaire
Title: "Tobacco and alcohol"
Usage: #definition
* insert Published(tobacco-alcohol, TobaccoAlcohol, Tobacco and alcohol, Questionnaire)
* description = "What was smoked and drunk in the last week."
* subjectType = #Patient
* insert Asked(smoked, boolean, Did you smoke or use other tobacco in the last seven days?)
* insert Asked(cigarettes, integer, How many cigarettes did you smoke on a usual day?)
* insert Upto(200)
* insert Asked(drinks, integer, How many drinks with alcohol did you have in the last seven days?)
* insert Upto(300)
* insert Asked(ready, integer, How ready are you to change something? 0 is not at all and 10 is fully.)
* insert Upto(10)

Instance: movement-week
InstanceOf: Questionnaire
Title: "Movement of the week"
Usage: #definition
* insert Published(movement-week, MovementWeek, Movement of the week, Questionnaire)
* description = "What devices do not see."
* subjectType = #Patient
* insert Asked(minutes, integer, On how many minutes of the last week did you move so that you breathed faster?)
* insert Upto(10080)
* insert Asked(strength, integer, On how many days did you do something for your strength?)
* insert Upto(7)
* insert Asked(pain, boolean, Did pain keep you from moving?)

RuleSet: Programme(id, name, title, topic)
* insert Published({id}, {name}, {title}, PlanDefinition)
* type = http://terminology.hl7.org/CodeSystem/plan-definition-type#clinical-protocol
* topic = $sct#{topic}

RuleSet: Measures(key, system, code, title, often, unit)
* action[+].id = "{key}"
* action[=].title = "{title}"
* action[=].code = {system}#{code}
* action[=].timingTiming.repeat.frequency = {often}
* action[=].timingTiming.repeat.period = 1
* action[=].timingTiming.repeat.periodUnit = #{unit}

RuleSet: Asks(form, title, often, unit)
* action[+].id = "{form}"
* action[=].title = "{title}"
* action[=].timingTiming.repeat.frequency = {often}
* action[=].timingTiming.repeat.period = 1
* action[=].timingTiming.repeat.periodUnit = #{unit}
* action[=].definitionCanonical = Canonical({form})

RuleSet: Goal(words, system, code)
* goal[+].description.text = "{words}"
* goal[=].target.measure = {system}#{code}

RuleSet: Below(value, unit)
* goal[=].target.detailRange.high = {value} '{unit}'

RuleSet: Above(value, unit)
* goal[=].target.detailRange.low = {value} '{unit}'

RuleSet: Indicator(id, name, title, base, success)
* insert Published({id}, {name}, {title}, Measure)
* subjectCodeableConcept = http://hl7.org/fhir/resource-types#Patient
* scoring = http://terminology.hl7.org/CodeSystem/measure-scoring#proportion
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* group.population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group.population[0].criteria.language = #text/fhirpath
* group.population[0].criteria.expression = "{base}"
* group.population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group.population[1].criteria.language = #text/fhirpath
* group.population[1].criteria.expression = "{success}"

Instance: programme-hypertension
InstanceOf: PlanDefinition
Title: "Self-measured blood pressure"
Usage: #definition
* insert Programme(programme-hypertension, ProgrammeHypertension, Self-measured blood pressure, 38341003)
* description = "Two readings in the morning and two in the evening for a week before each review; each pair and its average are kept."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #blood-pressure
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #heart-rate
* extension[2].url = Canonical(mh-category)
* extension[2].valueCode = #medication
* insert Measures(readings, $loinc, 85354-9, Two seated readings a minute or two apart, 4, d)
* insert Measures(pulse, $loinc, 8867-4, Heart rate beside them, 4, d)
* insert Asks(pressure-reading, Before the first reading of a day, 1, d)
* insert Goal(Average below 135 over 85 mmHg at home, $loinc, 8480-6)
* insert Below(135, mm[Hg])
* insert Goal(Average of the lower value below 85 mmHg, $loinc, 8462-4)
* insert Below(85, mm[Hg])

Instance: programme-diabetes
InstanceOf: PlanDefinition
Title: "Diabetes"
Usage: #definition
* insert Programme(programme-diabetes, ProgrammeDiabetes, Diabetes, 73211009)
* description = "Glucose by meter around meals or by a continuous sensor, with the time in range of two weeks."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #glucose
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #weight
* extension[2].url = Canonical(mh-category)
* extension[2].valueCode = #medication
* extension[3].url = Canonical(mh-category)
* extension[3].valueCode = #nutrition
* insert Measures(glucose, $loinc, 14743-9, Glucose by meter before and after meals, 4, d)
* insert Measures(sensor, $loinc, 105272-9, Glucose by sensor in stretches of an hour, 24, d)
* insert Measures(range, $loinc, 97510-2, Time in range, 1, wk)
* insert Measures(weight, $loinc, 29463-7, Weight, 1, wk)
* insert Asks(sugar-day, Diary, 1, d)
* insert Goal(At least 70 percent of the time in range, $loinc, 97510-2)
* insert Above(70, %)

Instance: programme-breathing
InstanceOf: PlanDefinition
Title: "Asthma and COPD"
Usage: #definition
* insert Programme(programme-breathing, ProgrammeBreathing, Asthma and COPD, 13645005)
* description = "Peak flow twice a day, oxygen saturation where a device is there, and a short diary."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #lung-function
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #oxygen-saturation
* extension[2].url = Canonical(mh-category)
* extension[2].valueCode = #activity
* extension[3].url = Canonical(mh-category)
* extension[3].valueCode = #questionnaire
* insert Measures(peak-flow, $loinc, 19935-6, Best of three blows, 2, d)
* insert Measures(saturation, $loinc, 59408-5, Oxygen saturation at rest, 1, d)
* insert Measures(reliever, $pghd, inhalerUsage, Puffs of the reliever, 1, d)
* insert Measures(impact, MeasureCode, cat-score, Impact of the disease, 1, wk)
* insert Asks(breathing-day, Diary, 1, d)
* insert Goal(Peak flow above 80 percent of the personal best, $loinc, 19935-6)

Instance: programme-activity
InstanceOf: PlanDefinition
Title: "Movement"
Usage: #definition
* insert Published(programme-activity, ProgrammeActivity, Movement, PlanDefinition)
* type = http://terminology.hl7.org/CodeSystem/plan-definition-type#clinical-protocol
* topic.text = "Too little movement"
* description = "Steps and minutes of moderate movement, against what the WHO advises for a week."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #activity
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #heart-rate
* insert Measures(steps, $loinc, 41950-7, Steps of a day, 1, d)
* insert Measures(minutes, $loinc, 82290-8, Minutes of moderate to vigorous movement, 1, wk)
* insert Measures(resting, $loinc, 40443-4, Resting heart rate, 1, d)
* insert Asks(movement-week, What devices do not see, 1, wk)
* insert Goal(At least 150 minutes a week, $loinc, 82290-8)
* insert Above(150, min/wk)

Instance: programme-weight
InstanceOf: PlanDefinition
Title: "Weight"
Usage: #definition
* insert Programme(programme-weight, ProgrammeWeight, Weight, 414916001)
* description = "Weight, waist and what is eaten."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #weight
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #height
* extension[2].url = Canonical(mh-category)
* extension[2].valueCode = #nutrition
* extension[3].url = Canonical(mh-category)
* extension[3].valueCode = #activity
* insert Measures(weight, $loinc, 29463-7, Weight, 2, wk)
* insert Measures(waist, $loinc, 8280-0, Waist, 1, mo)
* insert Measures(energy, $loinc, 9052-2, Energy of meals, 3, d)
* insert Measures(steps, $loinc, 41950-7, Steps of a day, 1, d)
* insert Goal(Body mass index below 30, $loinc, 39156-5)
* insert Below(30, kg/m2)

Instance: programme-tobacco-alcohol
InstanceOf: PlanDefinition
Title: "Tobacco and alcohol"
Usage: #definition
* insert Programme(programme-tobacco-alcohol, ProgrammeTobaccoAlcohol, Tobacco and alcohol, 365981007)
* description = "What is smoked and drunk, asked weekly and without judgement."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #lifestyle
* insert Measures(status, $loinc, 72166-2, Smoking status, 1, mo)
* insert Measures(cigarettes, $loinc, 64218-1, Cigarettes a day, 1, wk)
* insert Measures(drinks, $loinc, 74013-4, Drinks a day, 1, wk)
* insert Measures(risk, $loinc, 75626-2, Risk score of drinking, 1, a)
* insert Asks(tobacco-alcohol, Last week, 1, wk)
* insert Goal(No cigarettes, $loinc, 64218-1)
* insert Below(0, {cigarettes}/d)

Instance: programme-mental-health
InstanceOf: PlanDefinition
Title: "Mental health"
Usage: #definition
* insert Programme(programme-mental-health, ProgrammeMentalHealth, Mental health, 413307004)
* description = "Mood and worry by short questionnaires, with sleep and movement beside them. Not an emergency service: an answer that tells of harm is for the app to react to at once."
* extension[0].url = Canonical(mh-category)
* extension[0].valueCode = #mental-health
* extension[1].url = Canonical(mh-category)
* extension[1].valueCode = #sleep
* extension[2].url = Canonical(mh-category)
* extension[2].valueCode = #activity
* insert Measures(mood, $loinc, 44261-6, Score of mood, 2, mo)
* insert Measures(worry, $loinc, 70274-6, Score of worry, 2, mo)
* insert Measures(sleep, $loinc, 93832-4, Sleep of a night, 1, d)
* insert Measures(steps, $loinc, 41950-7, Steps of a day, 1, d)
* insert Asks(phq-9, Mood, 2, mo)
* insert Asks(gad-7, Worry, 2, mo)
* insert Goal(Score of mood below 5, $loinc, 44261-6)
* insert Below(4, {score})

Instance: indicator-pressure
InstanceOf: Measure
Title: "Blood pressure under control"
Usage: #definition
* insert Indicator(indicator-pressure, IndicatorPressure, Blood pressure under control, [[entry.resource.ofType(Observation).where(code.coding.code = '85354-9').exists()]], [[entry.resource.ofType(Observation).where(code.coding.code = '85354-9').last().select(component.where(code.coding.code = '8480-6').value.value < 135 and component.where(code.coding.code = '8462-4').value.value < 85).allTrue()]])
* description = "Share of people who measure their blood pressure and whose last average lies below 135 over 85 mmHg."

Instance: indicator-time-in-range
InstanceOf: Measure
Title: "Glucose in range"
Usage: #definition
* insert Indicator(indicator-time-in-range, IndicatorTimeInRange, Glucose in range, [[entry.resource.ofType(Observation).where(code.coding.code = '97510-2').exists()]], [[entry.resource.ofType(Observation).where(code.coding.code = '97510-2').last().value.value >= 70]])
* description = "Share of people with a sensor who spend 70 percent of the time or more in range."

Instance: indicator-breathing
InstanceOf: Measure
Title: "Peak flow kept"
Usage: #definition
* insert Indicator(indicator-breathing, IndicatorBreathing, Peak flow kept, [[entry.resource.ofType(Observation).where(code.coding.code = '83368-1').exists()]], [[entry.resource.ofType(Observation).where(code.coding.code = '19935-6').last().value.value >= 0.8 * entry.resource.ofType(Observation).where(code.coding.code = '83368-1').last().value.value]])
* description = "Share of people with a personal best whose last peak flow is at least 80 percent of it."

Instance: indicator-movement
InstanceOf: Measure
Title: "Enough movement"
Usage: #definition
* insert Indicator(indicator-movement, IndicatorMovement, Enough movement, [[entry.resource.ofType(Observation).where(code.coding.code = '82290-8').exists()]], [[entry.resource.ofType(Observation).where(code.coding.code = '82290-8').last().value.value >= 150]])
* description = "Share of people who reach 150 minutes of moderate to vigorous movement in the last week."

Instance: indicator-weight
InstanceOf: Measure
Title: "Weight lost"
Usage: #definition
* insert Indicator(indicator-weight, IndicatorWeight, Weight lost, [[entry.resource.ofType(Observation).where(code.coding.code = '29463-7').count() > 1]], [[entry.resource.ofType(Observation).where(code.coding.code = '29463-7').last().value.value <= 0.95 * entry.resource.ofType(Observation).where(code.coding.code = '29463-7').first().value.value]])
* description = "Share of people whose last weight is at least 5 percent below the first."

Instance: indicator-smoke-free
InstanceOf: Measure
Title: "Smoke-free"
Usage: #definition
* insert Indicator(indicator-smoke-free, IndicatorSmokeFree, Smoke-free, [[entry.resource.ofType(Observation).where(code.coding.code = '64218-1').exists()]], [[entry.resource.ofType(Observation).where(code.coding.code = '64218-1').last().value.value = 0]])
* description = "Share of people who reported cigarettes and whose last report is none."

Instance: indicator-mood
InstanceOf: Measure
Title: "Mood improved"
Usage: #definition
* insert Indicator(indicator-mood, IndicatorMood, Mood improved, [[entry.resource.ofType(Observation).where(code.coding.code = '44261-6').count() > 1]], [[entry.resource.ofType(Observation).where(code.coding.code = '44261-6').first().value.value - entry.resource.ofType(Observation).where(code.coding.code = '44261-6').last().value.value >= 5]])
* description = "Share of people whose score of mood has fallen by 5 or more."

