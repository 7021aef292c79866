//! The versions of the guide that are enforced and readable at once: the newest, which is compiled into the program, and
//! the ones before it.
//!
//! An app is registered for a version and held to its definitions until it is registered for another. An earlier version
//! is its package: those that this program was published with are part of it, an operator may add others. A package is
//! opened when somebody first needs it, and its profiles are compiled as they are met. Under each version the others
//! stand beside it, so that a claim that names a version means that one; a claim without means the app's own.
//! The tables of measures are no part of a version: what is possible does not depend on who was registered when.
//! Not known here: who is registered for what, and where packages lie.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::changes::{self, Changes};
use super::{Definition, Edition, Packed, Published, package};
use crate::fhir::definitions::package::{Unreadable, each_file, is_definition_file};
use crate::fhir::definitions::{Package, Registry, canonical};
use crate::fhir::ours;
use crate::fhir::tree::Element;
use crate::fhir::validate::Validator;

/// Packages of earlier versions that are part of the program.
const EARLIER: &[&[u8]] = &[include_bytes!("../../profiles/editions/0.1.0.tgz")];

/// The versions.
pub struct Shelf {
    /// Before the newest, the later ones first.
    earlier: Vec<Volume>,
    /// What a deployment holds resources to besides.
    added: Vec<Arc<Package>>,
    /// The newest with the others beside it, for claims that name one of these.
    newest: OnceLock<Validator>,
    reading: Reading,
}

/// A version as it is read.
#[derive(Default)]
struct Reading {
    published: OnceLock<Option<Published>>,
    definitions: OnceLock<Vec<Definition>>,
}

/// An earlier version.
pub struct Volume {
    version: String,
    archive: Cow<'static, [u8]>,
    package: OnceLock<Arc<Package>>,
    reading: Reading,
    validator: OnceLock<Validator>,
}

/// Why a package is no version of the guide.
#[derive(Debug)]
pub enum NotOurs {
    Unreadable(Unreadable),
    /// It holds no ImplementationGuide of ours.
    OtherGuide,
    /// It says to be the version that this program enforces as its newest.
    Newest,
}

impl std::fmt::Display for NotOurs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotOurs::Unreadable(error) => write!(formatter, "{error}"),
            NotOurs::OtherGuide => formatter.write_str("holds no version of this guide"),
            NotOurs::Newest => formatter.write_str("is not earlier than the version that the program has itself"),
        }
    }
}

impl std::error::Error for NotOurs {}

impl Shelf {
    /// The versions of this program, with what a deployment holds resources to besides.
    pub fn new(added: Vec<Arc<Package>>) -> Shelf {
        let volumes = EARLIER.iter().map(|archive| Volume::read(Cow::Borrowed(*archive)));
        let earlier = volumes.map(|volume| volume.expect("a test reads every package that is part of the program"));
        let mut shelf = Shelf { earlier: Vec::new(), added, newest: OnceLock::new(), reading: Reading::default() };
        earlier.for_each(|volume| shelf.put(volume));
        shelf
    }

    /// Puts in a package as it was published. One of a version that is here already takes its place.
    pub fn add(&mut self, archive: Vec<u8>) -> Result<(), NotOurs> {
        let volume = Volume::read(Cow::Owned(archive))?;
        if canonical::order(&volume.version, ours::VERSION) != Ordering::Less {
            return Err(NotOurs::Newest);
        }
        self.put(volume);
        Ok(())
    }

    fn put(&mut self, volume: Volume) {
        self.earlier.retain(|known| known.version != volume.version);
        self.earlier.push(volume);
        self.earlier.sort_by(|one, other| canonical::order(&other.version, &one.version));
    }

    /// All versions, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(ours::VERSION).chain(self.earlier.iter().map(|volume| volume.version.as_str()))
    }

    pub fn has(&self, version: &str) -> bool {
        self.versions().any(|known| known == version)
    }

    fn volume(&self, version: &str) -> Option<&Volume> {
        self.earlier.iter().find(|volume| volume.version == version)
    }

    /// The rules of a version, with those of the others for whoever names these. Compiles what the first caller needs.
    pub fn validator(&self, version: &str) -> Option<&Validator> {
        if version == ours::VERSION {
            return Some(self.newest.get_or_init(|| Validator::new(self.registry(version))));
        }
        Some(self.volume(version)?.validator.get_or_init(|| Validator::new(self.registry(version))))
    }

    /// The same, if somebody needed it before.
    pub fn opened(&self, version: &str) -> Option<&Validator> {
        if version == ours::VERSION { self.newest.get() } else { self.volume(version)?.validator.get() }
    }

    fn registry(&self, version: &str) -> Arc<Registry> {
        let earlier = self.earlier.iter().map(|volume| (volume.version.as_str(), volume.package()));
        let mut all: Vec<Arc<Package>> = package::packages();
        all.extend(earlier.map(|(_, package)| package));
        all.extend(self.added.iter().cloned());
        Registry::preferring(all, |package| package.name == ours::PACKAGE && package.version == version)
    }

    fn reading(&self, version: &str) -> Option<&Reading> {
        if version == ours::VERSION { Some(&self.reading) } else { Some(&self.volume(version)?.reading) }
    }

    /// An edition; one that nobody reads is read anew.
    pub fn edition(&self, version: &str) -> Option<Arc<Edition>> {
        if version == ours::VERSION {
            return Some(Edition::current());
        }
        let volume = self.volume(version)?;
        if let Some(Some(published)) = volume.reading.published.get() {
            return Some(Arc::clone(published.edition()));
        }
        Edition::read(&volume.archive, Registry::with_packages(vec![volume.package()])).ok().map(Arc::new)
    }

    /// The site of a version.
    pub fn published(&self, version: &str) -> Option<&Published> {
        let open = || self.edition(version).map(Published::new);
        self.reading(version)?.published.get_or_init(open).as_ref()
    }

    /// A file of a version's site.
    pub fn file(&self, version: &str, name: &str, validator: &Validator) -> Option<Arc<Packed>> {
        self.published(version)?.file(name, validator, || self.changes(version))
    }

    /// The definitions of a version as resources.
    pub fn definitions(&self, version: &str) -> &[Definition] {
        let Some(reading) = self.reading(version) else { return &[] };
        let open = || self.published(version).map(|published| Definition::all(published.edition())).unwrap_or_default();
        reading.definitions.get_or_init(open)
    }

    /// What changed up to a version, step by step, the last one first.
    pub(super) fn changes(&self, version: &str) -> Vec<Changes> {
        let mut versions = self.versions().skip_while(|known| *known != version);
        let mut later = versions.next().and_then(|version| self.edition(version));
        let mut all = Vec::new();
        for version in versions {
            let earlier = self.edition(version);
            if let (Some(earlier), Some(later)) = (&earlier, &later) {
                all.push(changes::between(earlier, later));
            }
            later = earlier;
        }
        all
    }
}

/// The version that a canonical of ours names.
pub fn claimed_version(canonical: &str) -> Option<&str> {
    let (url, version) = canonical::split(canonical);
    version.filter(|_| url.starts_with(ours::STRUCTURES))
}

/// Whether a resource, or one that it holds, names a version of a definition of ours that is not the newest.
pub fn names_earlier(element: Element<'_>) -> bool {
    let claims = element.get("meta").into_iter().flat_map(|meta| meta.all("profile"));
    let mut versions = claims.filter_map(|claim| claim.string()).filter_map(claimed_version);
    let mut held = element.all("contained").chain(element.all("entry").filter_map(|entry| entry.get("resource")));
    versions.any(|version| version != ours::VERSION) || held.any(names_earlier)
}

impl Volume {
    fn read(archive: Cow<'static, [u8]>) -> Result<Volume, NotOurs> {
        let mut version = None;
        let read = each_file(archive.as_ref(), |path, bytes| {
            if path.starts_with("package/ImplementationGuide-")
                && let Ok(guide) = serde_json::from_slice::<Value>(&bytes)
                && guide["url"] == ours::GUIDE_URL
            {
                version = guide["version"].as_str().map(str::to_owned);
            }
            Ok(())
        });
        read.map_err(NotOurs::Unreadable)?;
        let version = version.filter(|version| is_version(version)).ok_or(NotOurs::OtherGuide)?;
        let (package, validator) = (OnceLock::new(), OnceLock::new());
        Ok(Volume { version, archive, package, reading: Reading::default(), validator })
    }

    /// Its definitions.
    fn package(&self) -> Arc<Package> {
        let read = || {
            let mut files = Vec::new();
            let manifest = serde_json::json!({"name": ours::PACKAGE, "version": self.version}).to_string();
            let gathered = each_file(self.archive.as_ref(), |path, bytes| {
                if let Some(name) = path.strip_prefix("package/").filter(|name| is_definition(name)) {
                    files.push((name.to_owned(), bytes));
                }
                Ok(())
            });
            debug_assert!(gathered.is_ok(), "it was read before");
            Package::from_files(manifest.as_bytes(), files).expect("the manifest names the package")
        };
        Arc::clone(self.package.get_or_init(|| Arc::new(read())))
    }
}

/// The catalogue of issues is the program's and no matter of a version.
fn is_definition(name: &str) -> bool {
    is_definition_file(name) && !matches!(name, "package.json" | "CodeSystem-issue.json")
}

/// Whether a text can be a version, as it stands in addresses.
fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Kind;
    use crate::fhir::tree::json;
    use crate::fhir::validate::measures;

    #[test]
    fn the_newest_comes_first_and_every_other_can_be_opened() {
        let shelf = Shelf::new(Vec::new());
        let versions: Vec<&str> = shelf.versions().collect();
        assert_eq!(versions[0], ours::VERSION);
        assert_eq!(versions.len(), EARLIER.len() + 1);
        for version in &versions {
            assert!(shelf.opened(version).is_none());
            let url = format!("{}mh-heart-rate", ours::STRUCTURES);
            let validator = shelf.validator(version).unwrap();
            for (canonical, meant) in [(url.clone(), *version), (format!("{url}|{}", ours::VERSION), ours::VERSION)] {
                let id = validator.registry.structure_id(&canonical).unwrap();
                assert_eq!(&*validator.registry.head(id).version, meant);
                assert!(validator.profile(&canonical).is_some());
            }
            assert!(shelf.opened(version).is_some());
        }
        assert!(!shelf.has("7.7.7") && shelf.validator("7.7.7").is_none());
    }

    /// Consents speak of categories: what an earlier version has a category for must have it here.
    #[test]
    fn codes_of_every_version_have_their_category_still() {
        let shelf = Shelf::new(Vec::new());
        let mut asked = 0;
        for version in shelf.versions() {
            let registry = &shelf.validator(version).unwrap().registry;
            let own = registry.all(Kind::ValueSet).filter(|id| &*registry.head(*id).version == version);
            for id in own {
                let Some((_, category)) = registry.head(id).url.split_once("/ValueSet/category-") else { continue };
                let set: Value = serde_json::from_str(registry.document(id).unwrap().source()).unwrap();
                for include in set["compose"]["include"].as_array().into_iter().flatten() {
                    let system = include["system"].as_str().unwrap_or_default();
                    for concept in include["concept"].as_array().into_iter().flatten() {
                        let code = concept["code"].as_str().unwrap_or_default();
                        let known = measures::measure(system, code).map(|measure| measure.category);
                        assert_eq!(known, Some(category), "{version}: {system} {code}");
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 400, "{asked}");
    }

    #[test]
    fn what_is_no_earlier_version_is_refused() {
        let mut shelf = Shelf::new(Vec::new());
        assert!(matches!(shelf.add(b"no package".to_vec()), Err(NotOurs::Unreadable(_))));
        let newest = super::super::archive(&Edition::current());
        assert!(matches!(shelf.add(newest), Err(NotOurs::Newest)));
        assert!(shelf.add(EARLIER[0].to_vec()).is_ok());
        assert_eq!(shelf.versions().count(), EARLIER.len() + 1);
    }

    #[test]
    fn claims_name_versions() {
        let heart_rate = format!("{}mh-heart-rate", ours::STRUCTURES);
        for (claim, named) in [
            (heart_rate.clone(), None),
            (format!("{heart_rate}|0.1.0"), Some("0.1.0")),
            (format!("{heart_rate}|"), None),
            ("http://hl7.org/fhir/StructureDefinition/bp|4.0.1".to_owned(), None),
        ] {
            assert_eq!(claimed_version(&claim), named, "{claim}");
            let text = format!(r#"{{"resourceType":"Observation","meta":{{"profile":["{claim}"]}}}}"#);
            let entries = format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{text}}}]}}"#);
            for text in [text, entries] {
                let document = json::parse(text).unwrap();
                assert_eq!(names_earlier(Element::root(&document)), named.is_some(), "{claim}");
            }
        }
    }
}
