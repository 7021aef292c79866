//! The walk: a resource against the full plan of its type, element by element, in the order sent.
//!
//! One pass finds unknown properties, wrong shapes, empties, counts and formats, and calls the rules that
//! stand on an element. Profiles are applied after their base, by `apply`.

use smallvec::SmallVec;

use super::crew;
use super::likeness::Rule;
use super::measures;
use super::profile::{Asks, Content, Key, Node, NodeIndex, Profile, TypeRule, type_of_suffix};
use super::rules::{
    attachment, binding, bundle, canonical, capability_statement, code_system, coding, concept_map, extension,
    invariant, literal, markup, narrative,
    primitive::{Primitive, is_blank},
    quantity, questionnaire, reference, search_parameter, structure_definition, value_set, vital_signs,
};
use super::run::{Holder, MAX_NESTED, Missing, Run};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, Kind, NodeId, Tag};

const RESOURCE_TYPE: Tag = Tag::of("resourceType");

/// No resource means to satisfy more profiles than this.
const MAX_PROFILES: usize = 32;

/// Security labels that are compared with each other.
const MAX_LABELS: usize = 64;

impl<'v, 'd> Run<'v, 'd> {
    /// Checks a resource against its type, the profiles that it claims and is given, and what its code asks.
    pub fn resource(&mut self, element: Element<'d>, profiles: &[&str]) {
        let Some(look) = self.look(element) else { return self.strange(element, profiles) };
        if self.is_familiar(element, profiles, look) {
            self.measures(element);
            return;
        }
        let before = self.report.issues.len() + self.report.open.len();
        self.strange(element, profiles);
        if self.report.issues.len() + self.report.open.len() == before {
            self.learn(element, profiles, look);
        }
    }

    /// What measures ask of an Observation.
    fn measures(&mut self, element: Element<'d>) {
        if element.resource_type() == Some("Observation") {
            self.rule(element, || Rule::Measures, |run| measures::check(run, element));
        }
    }

    /// As [`resource`](Self::resource), of one that is like none that was seen before.
    fn strange(&mut self, element: Element<'d>, profiles: &[&str]) {
        let validator = self.validator;
        let Some(kind) = element.resource_type() else {
            self.issue(Id::ResourceTypeMissing, element, "The resource does not say its resourceType.".to_owned());
            return;
        };
        let Some(plan) = validator.resource_plan(kind) else {
            let text = "The resourceType is none of FHIR R4 (4.0.1).";
            self.issue(Id::ResourceTypeUnknown, element, text.to_owned());
            return;
        };
        if kind == "Bundle" {
            self.enter_bundle(element);
        }
        if kind == "Parameters" {
            self.enter_parameters(element);
        }
        let (missing, first) = (self.missing.len(), self.report.issues.len());
        (self.scope.depth, self.scope.holder) = (self.trail.depth(), self.holders.len());
        self.holders.push(Holder { type_name: &plan.type_name, path: "", element });
        self.object(element, plan, 0);
        self.holders.pop();
        if kind == "Bundle" {
            bundle::check(self, element);
        }
        if let Some(rules) = element.get("implicitRules") {
            self.trail.push("implicitRules", "implicitRules".len(), None);
            let text = "Rules beyond the standard are claimed, and they are not known here.";
            self.issue(Id::ImplicitRulesUnknown, rules, text.to_owned());
            self.trail.pop();
        }
        if let Some(meta) = element.get("meta") {
            self.labels(meta);
        }
        let applied = self.profiles(element, kind, profiles);
        self.settle(element, &applied, first);
        canonical::check_own(self, element, kind);
        match kind {
            "Observation" => self.measures(element),
            "CapabilityStatement" => capability_statement::check(self, element),
            "CodeSystem" => code_system::check(self, element),
            "ConceptMap" => concept_map::check(self, element),
            "Questionnaire" => questionnaire::check_definition(self, element),
            "QuestionnaireResponse" => questionnaire::check_response(self, element),
            "SearchParameter" => search_parameter::check(self, element),
            "StructureDefinition" => structure_definition::check(self, element),
            "ValueSet" => value_set::check(self, element),
            _ => {}
        }
        // Nobody asks for those of this resource again.
        self.missing.truncate(missing);
    }

    /// No security label stands twice.
    fn labels(&mut self, meta: Element<'d>) {
        let mut seen: SmallVec<[(Option<&str>, Option<&str>); 4]> = SmallVec::new();
        for (at, label) in meta.all("security").take(MAX_LABELS).enumerate() {
            let code = (label.text_of("system"), label.text_of("code"));
            if seen.contains(&code) {
                self.trail.push("meta", "meta".len(), None);
                self.trail.push("security", "security".len(), Some(at as u32));
                self.issue(Id::LabelRepeated, label, "The same security label stands before.".to_owned());
                self.trail.pop();
                self.trail.pop();
            }
            seen.push(code);
        }
    }

    /// Applies every profile that the resource is held to; answers which.
    fn profiles<'a>(&mut self, element: Element<'d>, kind: &str, given: &[&'a str]) -> SmallVec<[&'a str; 8]>
    where
        'v: 'a,
        'd: 'a,
    {
        let validator = self.validator;
        let by_code = (kind == "Observation").then(|| vital_signs::profile(element)).flatten();
        let global = validator.global.get(kind).into_iter().flatten().map(String::as_str);
        let claimed: SmallVec<[Element<'d>; 4]> =
            element.get("meta").map(|meta| meta.all("profile").collect()).unwrap_or_default();
        let claims = claimed.iter().enumerate().filter_map(|(at, each)| Some((each.string()?, Some((at, *each)))));
        let others = given.iter().copied().chain(by_code).chain(global).map(|canonical| (canonical, None));
        // The first that is asked for stands in for the type and does not repeat what the type asks.
        let stand_in = given.first().copied();
        let mut applied: SmallVec<[&'a str; 8]> = SmallVec::new();
        for (canonical, claim) in claims.chain(others) {
            if applied.contains(&canonical) {
                continue;
            }
            if applied.len() >= MAX_PROFILES {
                let text = format!("More than {MAX_PROFILES} profiles are claimed; the others were not checked.");
                self.issue(Id::CardinalityMax, element, text);
                return applied;
            }
            applied.push(canonical);
            match validator.profile(canonical) {
                Some(profile) if validator.registry.subtype_of(kind, &profile.type_name) => {
                    if Some(canonical) != stand_in {
                        self.again(&profile, element);
                    }
                    self.apply_all(&profile, element, 0);
                }
                Some(profile) => {
                    let text = format!("The profile is one of {}, not of this type.", profile.type_name);
                    self.about_claim(Id::TypeMismatch, element, claim, text);
                }
                // A type that is claimed as a profile says nothing beyond itself; an unknown version of a profile does.
                None if validator.registry.structure_id(canonical).is_some_and(|id| {
                    let head = validator.registry.head(id);
                    !head.is_profile && validator.registry.subtype_of(kind, &head.type_name)
                }) => {}
                // Whoever names a version of the guide that is not here is not let by without it.
                None if canonical.split_once('|').is_some_and(|(url, _)| {
                    url.starts_with(STRUCTURES) && validator.registry.structure_id(url).is_some()
                }) =>
                {
                    let text = "This version of the guide's profile is not here; name one that is, or none.";
                    self.about_claim(Id::GuideVersion, element, claim, text.to_owned());
                }
                None => {
                    let text = "The profile is not loaded here; the resource was not checked against it.";
                    self.about_claim(Id::ProfileUnknown, element, claim, text.to_owned());
                }
            }
        }
        applied
    }

    fn about_claim(&mut self, id: Id, resource: Element<'d>, claim: Option<(usize, Element<'d>)>, text: String) {
        let Some((at, claim)) = claim else { return self.issue(id, resource, text) };
        self.trail.push("meta", "meta".len(), None);
        self.trail.push("profile", "profile".len(), Some(at as u32));
        self.issue(id, claim, text);
        self.trail.pop();
        self.trail.pop();
    }

    /// A resource inside another one: contained, or an entry's.
    fn inner(&mut self, element: Element<'d>, is_contained: bool) {
        if self.nested >= MAX_NESTED {
            let text = format!("Resources stand inside each other more than {MAX_NESTED} deep.");
            self.issue(Id::JsonTooDeep, element, text);
            return;
        }
        let outer = self.scope;
        self.scope.resource = element;
        if !is_contained {
            self.enclose(element);
        }
        self.nested += 1;
        self.resource(element, &[]);
        self.nested -= 1;
        self.scope = outer;
    }

    /// The members of an object against the children of a node.
    pub fn object(&mut self, element: Element<'d>, plan: &'v Profile, at: NodeIndex) {
        let node = &plan.nodes[at];
        let document = element.document();
        // A primitive's extensions stand in its shadow; everything else in the value.
        let holder = element.value_node().filter(|holder| document.kind(*holder) == Kind::Object);
        let Some(holder) = holder.or(element.shadow_node()) else { return };
        let base = self.counts.len();
        self.counts.resize(base + node.children.len(), 0);
        let has_shadows = document.has_shadows(holder);
        let mut hint = 0;
        let mut is_empty = true;
        for member in document.children(holder) {
            is_empty = false;
            if at == 0 && document.has_key(member, RESOURCE_TYPE, "resourceType") {
                continue;
            }
            let key = document.key(member);
            match find(&node.keys, document.tag(member), key, &mut hint) {
                Some(found) => self.member(element, member, key, plan, node, found, base, has_shadows),
                None => self.stray(element, member, key, plan, node, base),
            }
        }
        if is_empty {
            self.issue(Id::ElementEmpty, element, "The object is empty.".to_owned());
        }
        for at in &node.counted {
            let (child, count) = (&plan.nodes[node.children[*at]], self.counts[base + at]);
            if count < child.min {
                let name = &child.name;
                let text = format!("{}.{name} is missing; at least {} must be sent.", node.path, child.min);
                self.miscounted(Id::CardinalityMin, element, child, text);
            }
            if count > child.max {
                let text = format!("{}.{} may stand at most {} times.", node.path, child.name, child.max);
                self.miscounted(Id::CardinalityMax, element, child, text);
            }
        }
        self.counts.truncate(base);
        if node.has_invariants {
            invariant::check(self, &node.invariants, element, &node.path);
        }
    }

    fn miscounted(&mut self, id: Id, parent: Element<'d>, child: &Node, text: String) {
        self.missing(id, parent, &child.name, text);
        let is_own = child.path.split('.').next() == self.scope.resource.resource_type();
        if is_own && self.missing.len() < MAX_PROFILES {
            self.missing.push(Missing {
                id,
                resource: self.scope.resource.node(),
                parent,
                expression: self.trail.expression_of(&child.name),
                path: child.path.to_string(),
            });
        }
    }

    /// A profile asks again for what its base type asks for, and says so.
    fn again(&mut self, profile: &Profile, resource: Element<'d>) {
        let missing = std::mem::take(&mut self.missing);
        for each in missing.iter().filter(|each| each.resource == resource.node()) {
            let text = format!("{} does not stand as often as {} asks.", each.path, profile.url);
            self.found(each.id, each.parent, each.expression.clone(), text);
        }
        self.missing = missing;
    }

    /// An element's id is the only one of its kind in the resource.
    fn element_id(&mut self, id: Element<'d>) {
        let Some(text) = id.string() else { return };
        // Those of element definitions name what they define, once in the differential and once in the snapshot.
        let parent = self.holders.below(1).map(|holder| holder.type_name);
        if parent == Some("ElementDefinition") {
            return;
        }
        if !self.ids.get_or_insert_default().insert((self.scope.resource.node(), text)) {
            let text = "Another element of the resource has the same id.";
            self.issue_above(Id::ElementIdRepeated, id, text.to_owned());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one inner loop; a struct for it would be built per property")]
    fn member(
        &mut self,
        parent: Element<'d>,
        member: NodeId,
        key: &'d str,
        plan: &'v Profile,
        node: &'v Node,
        found: &'v Key,
        base: usize,
        has_shadows: bool,
    ) {
        let document = parent.document();
        let child = &plan.nodes[node.children[found.child]];
        let rule = &child.types[found.type_at];
        let name = child.name.len();
        if self.counts[base + found.child] > 0 {
            self.trail.push(key, key.len(), None);
            let text = format!("{}[x] stands twice with different types.", child.name);
            self.issue(Id::ChoiceRepeated, Element::at(document, member), text);
            self.trail.pop();
            return;
        }
        let is_array = document.kind(member) == Kind::Array;
        if is_array != child.repeats {
            self.trail.push(key, name, None);
            let expected = if child.repeats { "an array" } else { "a single value, not an array" };
            self.issue(Id::ElementShape, Element::at(document, member), format!("It must be {expected}."));
            self.trail.pop();
            self.counts[base + found.child] += 1;
            return;
        }
        let mut count = 0;
        if has_shadows {
            for (index, element) in parent.all(key).enumerate() {
                count += 1;
                self.item(element, key, name, is_array.then_some(index as u32), plan, child, rule);
            }
            if is_array && count > 0 && count < places(parent, member, key) {
                self.trail.push(key, name, None);
                let text = "A place of the array stands for nothing: neither a value nor its underscore twin is there.";
                self.issue(Id::ElementEmpty, Element::at(document, member), text.to_owned());
                self.trail.pop();
            }
        } else if is_array {
            let is_shared = self.options.threads > 1 && &*child.path == "Bundle.entry";
            let shared = if is_shared { self.entries_together(member, plan, child, rule) } else { None };
            match shared {
                Some(entries) => count = entries,
                None => {
                    for (index, item) in document.children(member).enumerate() {
                        count += 1;
                        self.item(Element::at(document, item), key, name, Some(index as u32), plan, child, rule);
                    }
                }
            }
        } else {
            count = 1;
            self.item(Element::at(document, member), key, name, None, plan, child, rule);
        }
        if count == 0 {
            self.trail.push(key, name, None);
            self.issue(Id::ElementEmpty, Element::at(document, member), "The array is empty.".to_owned());
            self.trail.pop();
        }
        self.counts[base + found.child] += count;
    }

    /// The entries of a Bundle by several threads, where they were asked for; how many entries there are.
    fn entries_together(&mut self, list: NodeId, plan: &'v Profile, node: &'v Node, rule: &'v TypeRule) -> Option<u32> {
        let document = self.scope.resource.document();
        let entries: Vec<NodeId> = document.children(list).collect();
        let check = |part: &mut Run<'v, 'd>, at: usize| {
            part.item(Element::at(document, entries[at]), "entry", "entry".len(), Some(at as u32), plan, node, rule);
        };
        let Some(reports) = crew::each(self, entries.len(), &check) else {
            self.forget_answers();
            return None;
        };
        for report in reports {
            self.take_over(report);
        }
        Some(entries.len() as u32)
    }

    /// A property that is no child: a primitive's shadow, or unknown.
    fn stray(
        &mut self,
        parent: Element<'d>,
        member: NodeId,
        key: &'d str,
        plan: &'v Profile,
        node: &'v Node,
        base: usize,
    ) {
        let document = parent.document();
        let here = Element::at(document, member);
        let shadowed =
            key.strip_prefix('_').and_then(|name| Some((name, node.keys.iter().find(|key| *key.text == *name)?)));
        if let Some((name, found)) = shadowed {
            let child = &plan.nodes[node.children[found.child]];
            let rule = &child.types[found.type_at];
            // Ids are attributes by nature and carry no extensions (R4 §2.26.4).
            let is_primitive = matches!(rule.content, Content::Primitive(_)) && name != "id";
            let is_array = document.kind(member) == Kind::Array;
            if !is_primitive || is_array != child.repeats || document.kind(member) == Kind::String {
                self.trail.push(key, key.len(), None);
                let text = "Only a primitive other than an id has an underscore property, shaped like its own.";
                self.issue(Id::ElementShape, here, text.to_owned());
                self.trail.pop();
                return;
            }
            // A value beside it was or will be walked together with it.
            let holder = parent.value_node().unwrap_or(NodeId::ROOT);
            if document.member(holder, name).is_some() {
                return;
            }
            for (index, element) in parent.all(name).enumerate() {
                self.counts[base + found.child] += 1;
                self.item(element, name, child.name.len(), is_array.then_some(index as u32), plan, child, rule);
            }
            return;
        }
        let choice = node.children.iter().map(|index| &plan.nodes[*index]).find(|child| {
            child.choice
                && key
                    .strip_prefix(&*child.name)
                    .is_some_and(|suffix| self.validator.registry.is_type(type_of_suffix(suffix)))
        });
        // The name is the sender's word: it is repeated only if it could be an element's, as a misspelt one is.
        let shown = if looks_like_element(key) { key } else { "(unreadable)" };
        self.trail.push(shown, shown.len(), None);
        if let Some(child) = choice {
            let types: Vec<&str> = child.types.iter().map(|each| &*each.name).collect();
            let text = format!("{}[x] must be of type {}.", child.name, types.join(", "));
            self.issue(Id::TypeMismatch, here, text);
        } else {
            let text = format!("{} has no such property.", node.path);
            self.issue(Id::ElementUnknown, here, text);
        }
        self.trail.pop();
    }

    /// One element: its content by type, then the rules that stand on it.
    #[expect(clippy::too_many_arguments, reason = "the one inner loop; a struct for it would be built per element")]
    fn item(
        &mut self,
        element: Element<'d>,
        key: &'d str,
        name: usize,
        index: Option<u32>,
        plan: &'v Profile,
        node: &'v Node,
        rule: &'v TypeRule,
    ) {
        self.trail.push(key, name, index);
        let path = match rule.content {
            Content::Inline(at) => &*plan.nodes[at].path,
            _ => "",
        };
        self.holders.push(Holder { type_name: &rule.name, path, element });
        let fits = match rule.content {
            Content::Primitive(primitive) => {
                if key == "id" && self.holders.len() > self.scope.holder + 2 {
                    self.element_id(element);
                }
                // What extends a value has rules of its own.
                if element.shadow_node().is_some() {
                    self.value(element, primitive, rule)
                } else {
                    let again = || Rule::Primitive { primitive, rule: rule.clone() };
                    self.rule(element, again, |run| run.value(element, primitive, rule))
                }
            }
            Content::Complex(_) | Content::Inline(_) | Content::Resource if !element.is_object() => {
                let id = if element.kind().is_none() { Id::ElementEmpty } else { Id::ElementShape };
                self.issue(id, element, "It must be an object.".to_owned());
                false
            }
            Content::Complex(at) => {
                let validator = self.validator;
                self.object(element, &validator.types[at], 0);
                self.typed(element, key, rule);
                true
            }
            Content::Inline(at) => {
                self.object(element, plan, at);
                true
            }
            Content::Resource if key == "contained" && self.options.skip_contained => false,
            Content::Resource => {
                self.inner(element, key == "contained");
                true
            }
            Content::Elsewhere => true,
        };
        if fits {
            self.standing(element, node, rule);
        } else if element.kind().is_none()
            && let Some(bound) = &node.binding
        {
            binding::check(self, bound, element);
        }
        self.holders.pop();
        self.trail.pop();
    }

    /// The rules of the element's own definition, as opposed to those of its type.
    fn standing(&mut self, element: Element<'d>, node: &'v Node, rule: &'v TypeRule) {
        literal::check(self, node, element);
        if let Some(bound) = &node.binding {
            binding::check(self, bound, element);
        }
        if node.has_invariants && !matches!(rule.content, Content::Inline(_)) {
            let is_resource = rule.content == Content::Resource;
            let type_name = if is_resource { element.resource_type().unwrap_or_default() } else { &rule.name };
            invariant::check(self, &node.invariants, element, type_name);
        }
        self.target(element, rule);
        if !rule.profiles.is_empty() && rule.asks != Asks::Extension {
            self.one_of(&rule.profiles, element);
        }
    }

    /// What a data type asks beyond its own plan.
    fn typed(&mut self, element: Element<'d>, key: &str, rule: &TypeRule) {
        match rule.asks {
            Asks::Extension => extension::check(self, element, key == "modifierExtension"),
            Asks::Coding => coding::check(self, element),
            Asks::Identifier => {
                self.rule(element, || Rule::Identifier, |run| coding::check_identifier(run, element));
            }
            Asks::Attachment => attachment::check(self, element),
            Asks::Reference => self.rule(element, || Rule::Reference, |run| reference::check(run, element)),
            Asks::Narrative => narrative::check(self, element),
            Asks::Quantity => quantity::check(self, element),
            Asks::Nothing | Asks::Canonical | Asks::Markdown => {}
        }
    }

    /// What is asked of the value of a primitive by its type.
    pub(super) fn value(&mut self, element: Element<'d>, primitive: Primitive, rule: &TypeRule) -> bool {
        let fits = self.primitive(element, primitive);
        match primitive {
            Primitive::String if fits => markup::check(self, element, rule.asks == Asks::Markdown),
            Primitive::Uri if fits && rule.asks == Asks::Canonical => canonical::check(self, element),
            _ => {}
        }
        fits
    }

    /// Whether a reference leads where it may.
    pub(super) fn target(&mut self, element: Element<'d>, rule: &TypeRule) {
        if rule.asks == Asks::Reference {
            self.rule(element, || Rule::Target(rule.clone()), |run| reference::target(run, element, rule));
        }
    }

    fn primitive(&mut self, element: Element<'d>, primitive: Primitive) -> bool {
        let document = element.document();
        if let Some(shadow) = element.shadow_node() {
            if document.kind(shadow) == Kind::Object {
                let validator = self.validator;
                self.object(Element::at(document, shadow), validator.element_plan(), 0);
            } else {
                self.issue(Id::ElementShape, element, "The underscore property must be an object.".to_owned());
            }
        }
        let Some(kind) = element.kind() else {
            if element.shadow_node().is_none() {
                self.issue(Id::ElementEmpty, element, "A null stands for nothing and must be left out.".to_owned());
            }
            return false;
        };
        if !primitive.takes(kind) {
            self.issue(Id::ElementShape, element, format!("It must be {}.", primitive.json()));
            return false;
        }
        let text = document.value(element.node());
        if text.is_empty() {
            self.issue(Id::ElementEmpty, element, "The text is empty.".to_owned());
            self.issue(Id::Invariant, element, "ele-1: All FHIR elements must have a @value or children".to_owned());
            return false;
        }
        if let Some(expected) = primitive.expects(text) {
            self.issue(Id::PrimitiveFormat, element, format!("It must be {expected}."));
            return false;
        }
        if primitive == Primitive::String && is_blank(text) {
            self.issue(Id::TextBlank, element, "A text should have something to see.".to_owned());
        }
        true
    }
}

/// How long the arrays of a repeating primitive and of its underscore twin are, the longer counting.
fn places(parent: Element<'_>, member: NodeId, key: &str) -> u32 {
    let document = parent.document();
    let twin = parent.value_node().into_iter().flat_map(|holder| document.children(holder));
    let twin = twin.filter(|each| document.key(*each).strip_prefix('_') == Some(key));
    let lengths = twin.chain([member]).map(|array| document.children(array).count());
    lengths.max().unwrap_or(0) as u32
}

/// Whether a key could be that of an element.
fn looks_like_element(key: &str) -> bool {
    let name = key.strip_prefix('_').unwrap_or(key);
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The key of a property. Properties mostly come in the definition's order, so the search goes on from the last.
fn find<'p>(keys: &'p [Key], tag: Tag, key: &str, hint: &mut usize) -> Option<&'p Key> {
    let is_it = |each: &&Key| each.tag == tag && (tag.is_whole() || *each.text == *key);
    let (before, after) = keys.split_at(*hint);
    if let Some(at) = after.iter().position(|each| is_it(&each)) {
        *hint += at + 1;
        return Some(&after[at]);
    }
    before.iter().find(is_it)
}
