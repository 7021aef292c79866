//! The guide as definitions: what the program enforces is what it publishes.
//!
//! `profiles/guide.bin` is the compiled guide, condensed like the standard's own definitions. The code system of issues is
//! added from the catalogue, its one source.

use std::sync::{Arc, LazyLock};

use super::{Edition, issues};
use crate::fhir::definitions::archive::{self, Description};
use crate::fhir::definitions::{Package, Registry};
use crate::fhir::ours;
use crate::fhir::tree::json;

static COMPILED: &[u8] = include_bytes!("../../profiles/guide.bin");

/// Names and versions of the packages that the guide builds on.
const DEPENDENCIES: &[(&str, &str)] = &[("hl7.fhir.r4.core", "4.0.1")];

static PACKAGES: LazyLock<[Arc<Package>; 2]> = LazyLock::new(|| {
    let guide = Package::embedded(ours::PACKAGE, ours::VERSION, COMPILED);
    let guide = guide.expect("profiles/guide.bin was written by the definitions command, whose test reads it back");
    let issues = json::parse(issues::code_system().to_string()).ok();
    let catalogue = Package::loose("mhealth-gateway", &issues).expect("the code system of issues has a url");
    [guide, catalogue].map(Arc::new)
});

/// The guide's definitions, to stand below what a deployment adds.
pub fn packages() -> Vec<Arc<Package>> {
    PACKAGES.to_vec()
}

/// The standard's definitions with the guide's on top.
pub fn registry() -> Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Registry::with_packages(packages()));
    Arc::clone(&REGISTRY)
}

/// An edition as a FHIR package (.tgz) that SUSHI and validators load. Wrong examples are no part of it.
pub fn archive(edition: &Edition) -> Vec<u8> {
    let (mut resources, mut examples) = (Vec::new(), Vec::new());
    for resource in edition.resources.iter().filter(|each| edition.refused_with(each).is_none()) {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        let file = (format!("{}-{}.json", text("resourceType"), text("id")), resource);
        if edition.is_example(resource) { &mut examples } else { &mut resources }.push(file);
    }
    let text = |name: &str| edition.guide()[name].as_str().unwrap_or_default();
    let description = Description {
        name: text("packageId"),
        version: text("version"),
        canonical: edition.canonical(),
        title: text("title"),
        description: text("description"),
        license: text("license"),
        dependencies: DEPENDENCIES,
    };
    archive::pack(&description, &resources, &examples, |resource| edition.full(resource))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::fhir::definitions::{Kind, package};
    use crate::fhir::tree::{Document, Element};
    use crate::fhir::validate::{Options, Validator};

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn own_structures(registry: &Registry) -> Vec<String> {
        let all = registry.all(Kind::StructureDefinition).map(|id| registry.head(id).url.to_string());
        all.filter(|url| url.starts_with(ours::STRUCTURES)).collect()
    }

    fn compiled() -> Vec<Document> {
        let mut paths: Vec<_> =
            fs::read_dir(folder("profiles/compiled")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| json::parse(fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The compiled form of each profile that ships; set `MHEALTH_BLESS=1` to take what it prints now.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says whether to take what is printed")]
    fn compiled_profiles_print_as_they_did() {
        let validator = Validator::new(registry());
        let bless = std::env::var("MHEALTH_BLESS").is_ok();
        let mut known = BTreeSet::new();
        for url in own_structures(&validator.registry) {
            let profile = validator.profile(&url).unwrap_or_else(|| panic!("{url} does not compile"));
            let name = format!("{}.txt", url.strip_prefix(ours::STRUCTURES).unwrap());
            let path = folder("src/guide/goldens").join(&name);
            let text = profile.to_string();
            if bless {
                fs::write(&path, &text).unwrap();
            }
            assert!(text == fs::read_to_string(&path).unwrap_or_default(), "{name} differs:\n{text}");
            known.insert(name);
        }
        assert!(known.len() > 45, "{}", known.len());
        let kept = fs::read_dir(folder("src/guide/goldens")).unwrap();
        let kept: BTreeSet<String> = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(kept, known, "prints of profiles that are gone");
    }

    /// Our snapshots of the reviewed differentials, and SUSHI's in the package, say the same of every example. Their texts
    /// differ: ours repeat the constraints of an extension where it is used, and count the slices that must be there.
    #[test]
    fn both_snapshots_find_the_same_issues() {
        let reviewed = Validator::new(Registry::with(compiled()).unwrap());
        let packed = Validator::new(registry());
        let mut raised = 0;
        for kind in ["valid", "invalid"] {
            for entry in fs::read_dir(folder("profiles/examples").join(kind)).unwrap() {
                let path = entry.unwrap().path();
                let document = json::parse(fs::read(&path).unwrap()).unwrap();
                let [one, other] = [&reviewed, &packed].map(|validator| {
                    let issues = validator.check(Element::root(&document), &Options::default()).issues;
                    issues.into_iter().map(|issue| (issue.id.code(), issue.expression)).collect::<BTreeSet<_>>()
                });
                assert_eq!(one, other, "{}", path.display());
                raised += one.len();
            }
        }
        assert!(raised > 80, "{raised}");
    }

    #[test]
    fn the_package_that_is_published_holds_the_guide() {
        let package = Package::read(&archive(&Edition::current())).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), (ours::PACKAGE, ours::VERSION));
        let urls: BTreeSet<&str> = package.heads().iter().map(|head| &*head.url).collect();
        let enforced: BTreeSet<&str> =
            PACKAGES.iter().flat_map(|package| package.heads()).map(|head| &*head.url).collect();
        assert_eq!(urls, enforced);
    }

    /// What is reviewed is what is packed, but for the snapshots.
    #[test]
    fn the_package_holds_the_compiled_guide() {
        let archive = fs::File::open(folder("profiles/guide.tgz")).unwrap();
        let read = |document: &Document| {
            let mut value: serde_json::Value = serde_json::from_str(document.source()).unwrap();
            value.as_object_mut().unwrap().remove("snapshot");
            value
        };
        let packed: Vec<_> = package::resources(archive).unwrap().iter().map(read).collect();
        let reviewed: Vec<_> = compiled().iter().map(read).collect();
        assert_eq!(packed, reviewed);
    }
}
