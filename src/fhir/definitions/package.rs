//! FHIR packages: the .tgz of npm layout in which definitions are published, indexed by their heads.
//!
//! A package is pure data: bytes in, definitions out; where the bytes lie is a matter of the commands. Only
//! the heads are read at once (url, version, kind); the text of a definition is kept without its prose and
//! parsed when somebody asks. The definitions of R4 that are compiled into the binary are a package, too, and
//! so are loose resources.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use super::blob::{self, Blocks};
use super::canonical::{self, Fit};
use super::skim;
use super::structure::{Structure, StructureKind};
use crate::fhir::tree::{Document, Element, NodeId, json, write};

/// No definition of a published package comes near this size; a hostile archive is not read to its end.
const MAX_FILE: u64 = 64 << 20;

/// The largest published package inflates to a tenth of this.
const MAX_PACKAGE: u64 = 1 << 30;

/// More files than any published package holds.
const MAX_FILES: usize = 200_000;

/// The kinds of definitions that are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    StructureDefinition,
    ValueSet,
    CodeSystem,
    SearchParameter,
    ConceptMap,
    NamingSystem,
    Questionnaire,
    Measure,
    ImplementationGuide,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::StructureDefinition,
        Kind::ValueSet,
        Kind::CodeSystem,
        Kind::SearchParameter,
        Kind::ConceptMap,
        Kind::NamingSystem,
        Kind::Questionnaire,
        Kind::Measure,
        Kind::ImplementationGuide,
    ];

    /// The resource type.
    pub fn name(self) -> &'static str {
        match self {
            Kind::StructureDefinition => "StructureDefinition",
            Kind::ValueSet => "ValueSet",
            Kind::CodeSystem => "CodeSystem",
            Kind::SearchParameter => "SearchParameter",
            Kind::ConceptMap => "ConceptMap",
            Kind::NamingSystem => "NamingSystem",
            Kind::Questionnaire => "Questionnaire",
            Kind::Measure => "Measure",
            Kind::ImplementationGuide => "ImplementationGuide",
        }
    }

    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is known of a definition before it is read.
#[derive(Clone, Debug)]
pub struct Head {
    pub kind: Kind,
    pub url: Arc<str>,
    pub version: Box<str>,
    /// Of a structure: the type that it defines or constrains.
    pub type_name: Box<str>,
    /// Of a structure.
    pub structure: Option<StructureKind>,
    /// Of a structure: whether it constrains a type rather than defines one.
    pub is_profile: bool,
    /// Of a structure: whether it is published with its snapshot.
    pub has_snapshot: bool,
    /// Of a code system: how much of it is there, as a rank; 0 is nothing but its name.
    pub content: u8,
    /// Of a structure, its base; of a supplement, the code system that it adds to.
    pub base: Box<str>,
    pub(super) at: Range<usize>,
}

/// A package of definitions.
pub struct Package {
    pub name: String,
    pub version: String,
    /// Names and versions of the packages that this one builds on.
    pub dependencies: Vec<(String, String)>,
    heads: Vec<Head>,
    text: Text,
    structures: Vec<OnceLock<Option<Arc<Structure>>>>,
}

pub(super) enum Text {
    Plain(String),
    Blocks(Blocks),
}

/// `package.json`, as far as it matters here.
#[derive(Deserialize)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub dependencies: BTreeMap<String, String>,
}

impl Manifest {
    pub fn read(bytes: &[u8]) -> Result<Manifest, Unreadable> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|_| Unreadable::Manifest)
    }
}

/// Why a package cannot be used.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no gzipped tar archive, or is cut off.
    Archive(std::io::Error),
    /// There is no `package/package.json` that names it.
    Manifest,
    /// It inflates beyond what any published package does.
    TooLarge,
    /// A file of it would lie outside of its folder.
    Path,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Unreadable::Archive(_) => "not a gzipped tar archive",
            Unreadable::Manifest => "no package/package.json with a name and a version",
            Unreadable::TooLarge => "larger than any FHIR package",
            Unreadable::Path => "a file of it would lie outside of its folder",
        })
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unreadable::Archive(error) => Some(error),
            Unreadable::Manifest | Unreadable::TooLarge | Unreadable::Path => None,
        }
    }
}

/// A loose definition that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defect {
    pub url: String,
    pub what: &'static str,
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "definition {}: {}", self.url, self.what)
    }
}

impl std::error::Error for Defect {}

impl Package {
    /// Reads a .tgz.
    pub fn read(archive: &[u8]) -> Result<Package, Unreadable> {
        let mut manifest = None;
        let mut files = Vec::new();
        each_file(archive, |path, bytes| {
            match in_package(path) {
                Some("package.json") => manifest = Some(bytes),
                Some(name) => files.push((name.to_owned(), bytes)),
                None => {}
            }
            Ok(())
        })?;
        Package::from_files(&manifest.ok_or(Unreadable::Manifest)?, files)
    }

    /// Reads the files of an unpacked package: `package.json` and the JSON files that lie beside it.
    pub fn from_files(manifest: &[u8], mut files: Vec<(String, Vec<u8>)>) -> Result<Package, Unreadable> {
        let manifest = Manifest::read(manifest)?;
        // An alias of npm says what it stands for behind `@npm:`.
        let unalias = |name: String| name.rsplit_once("@npm:").map_or(name.clone(), |(_, real)| real.to_owned());
        let dependencies = manifest.dependencies.into_iter().map(|(name, version)| (unalias(name), version)).collect();
        files.sort();
        let mut gathered = Gathered::default();
        for (_, bytes) in files {
            if let Ok(text) = String::from_utf8(bytes) {
                // Other files lie there as well: an index, examples, notes. They are no definitions.
                gathered.add(&text);
            }
        }
        Ok(gathered.package(manifest.name, manifest.version, dependencies))
    }

    /// A package of loose resources; what is no definition is left out.
    pub fn loose<'d>(name: &str, resources: impl IntoIterator<Item = &'d Document>) -> Result<Package, Defect> {
        let mut gathered = Gathered::default();
        for document in resources {
            let root = Element::root(document);
            let url = root.text_of("url").unwrap_or_default();
            let defect = |what| Err(Defect { url: url.to_owned(), what });
            match root.resource_type() {
                Some("StructureDefinition") if Structure::read(document, NodeId::ROOT).is_none() => {
                    return defect("a StructureDefinition needs url, type, kind and elements");
                }
                Some("ValueSet" | "CodeSystem") if url.is_empty() => return defect("a definition needs a url"),
                _ => {}
            }
            // Its source may be XML, or JSON that only a patient reader takes.
            gathered.add(&write::compact(document, NodeId::ROOT));
        }
        Ok(gathered.package(name.to_owned(), String::new(), Vec::new()))
    }

    /// A package that was condensed and compressed into the program; `None` for bytes that were not.
    pub fn embedded(name: &str, version: &str, bytes: &'static [u8]) -> Option<Package> {
        blob::package(name, version, bytes)
    }

    pub(super) fn compiled(name: &str, version: &str, heads: Vec<Head>, blocks: Blocks) -> Package {
        let structures = heads.iter().map(|_| OnceLock::new()).collect();
        let (name, version) = (name.to_owned(), version.to_owned());
        Package { name, version, dependencies: Vec::new(), heads, text: Text::Blocks(blocks), structures }
    }

    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Reads a definition; `None` where its text is no resource after all.
    pub(super) fn document(&self, at: usize) -> Option<Document> {
        let range = self.heads.get(at)?.at.clone();
        match &self.text {
            Text::Plain(text) => json::parse(text.get(range)?).ok(),
            Text::Blocks(blocks) => json::parse(blocks.text(range)?).ok(),
        }
    }

    /// A structure as it is published: with its snapshot, or its differential where it has none.
    pub(super) fn structure(&self, at: usize) -> Option<&Arc<Structure>> {
        let read = || Structure::read(&self.document(at)?, NodeId::ROOT).map(Arc::new);
        self.structures.get(at)?.get_or_init(read).as_ref()
    }
}

/// How well a version of a package serves the one that is declared: as it is, within what the declaration leaves
/// open (`1.2.x`, `latest`, `current`), or not. Unlike a definition, another patch is another package.
pub fn serves(declared: &str, version: &str) -> Fit {
    if declared == version {
        return Fit::Exact;
    }
    let branch = declared.split('$').next().unwrap_or(declared);
    if matches!(branch, "latest" | "current" | "dev" | "*") {
        return Fit::Within;
    }
    match canonical::fit(declared, version) {
        Fit::Line => Fit::No,
        fit => fit,
    }
}

impl fmt::Debug for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Package({}#{}, {} definitions)", self.name, self.version, self.heads.len())
    }
}

/// The more of a code system is there, the higher.
pub(super) fn content_rank(content: &str) -> u8 {
    match content {
        "complete" => 3,
        "fragment" => 2,
        "example" => 1,
        _ => 0,
    }
}

/// Members of a definition that no rule asks for.
const PROSE: [&str; 9] =
    ["text", "contact", "description", "purpose", "copyright", "useContext", "jurisdiction", "mapping", "publisher"];

/// The definitions of a package while they are gathered.
#[derive(Default)]
struct Gathered {
    heads: Vec<Head>,
    text: String,
}

impl Gathered {
    /// Adds a definition; a text that is none, or one without a url, is left out.
    fn add(&mut self, source: &str) -> Option<()> {
        let members = skim::members(source)?;
        let value =
            |name: &str| members.iter().find(|member| member.key == name).map(|member| &source[member.value.clone()]);
        let text = |name: &str| value(name).and_then(skim::unquoted).unwrap_or_default();
        let kind = Kind::named(&text("resourceType"))?;
        let url = text("url");
        // A NamingSystem of R4 has no url of its own; its name is what it is asked for by.
        let url = if kind == Kind::NamingSystem && url.is_empty() { text("name") } else { url };
        if url.is_empty() {
            return None;
        }
        let has_snapshot = value("snapshot").is_some();
        let start = self.text.len();
        self.text.push('{');
        for member in &members {
            let prose = match kind {
                // What is asked and answered may be anywhere in these.
                Kind::Questionnaire | Kind::Measure => member.key == "text",
                Kind::StructureDefinition if member.key == "differential" => has_snapshot,
                _ => PROSE.contains(&member.key),
            };
            if !prose {
                if self.text.len() > start + 1 {
                    self.text.push(',');
                }
                self.text.push('"');
                self.text.push_str(member.key);
                self.text.push_str("\":");
                self.text.push_str(&source[member.value.clone()]);
            }
        }
        self.text.push('}');
        let is_structure = kind == Kind::StructureDefinition;
        self.heads.push(Head {
            kind,
            url: url.into(),
            version: text("version").into(),
            type_name: if is_structure { text("type").into() } else { Box::default() },
            structure: is_structure.then(|| StructureKind::parse(&text("kind"))).flatten(),
            is_profile: is_structure && text("derivation") == "constraint",
            has_snapshot,
            content: content_rank(&text("content")),
            base: text(if is_structure { "baseDefinition" } else { "supplements" }).into(),
            at: start..self.text.len(),
        });
        Some(())
    }

    fn package(mut self, name: String, version: String, dependencies: Vec<(String, String)>) -> Package {
        self.text.shrink_to_fit();
        let structures = self.heads.iter().map(|_| OnceLock::new()).collect();
        Package { name, version, dependencies, heads: self.heads, text: Text::Plain(self.text), structures }
    }
}

/// Hands out each regular file of a .tgz by its path, which is relative and leads nowhere else. Links and whatever
/// else an archive may hold are left out; a path that leads out of its folder condemns the archive.
pub fn each_file(
    archive: impl Read,
    mut take: impl FnMut(&str, Vec<u8>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let inflated = flate2::read::GzDecoder::new(archive).take(MAX_PACKAGE + 1);
    let mut archive = tar::Archive::new(inflated);
    let mut total = 0;
    for (count, entry) in archive.entries().map_err(Unreadable::Archive)?.enumerate() {
        let entry = entry.map_err(Unreadable::Archive)?;
        total += entry.size();
        if count >= MAX_FILES || total > MAX_PACKAGE || entry.size() > MAX_FILE {
            return Err(Unreadable::TooLarge);
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(Unreadable::Archive)?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        if !is_inside(path) {
            return Err(Unreadable::Path);
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        entry.take(MAX_FILE).read_to_end(&mut bytes).map_err(Unreadable::Archive)?;
        take(path, bytes)?;
    }
    Ok(())
}

/// Whether a path stays inside the folder that it is relative to.
fn is_inside(path: &str) -> bool {
    !path.contains(['\\', '\0', ':']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A definition's file, or the manifest, by its path in the archive.
fn in_package(path: &str) -> Option<&str> {
    path.strip_prefix("package/").filter(|name| is_definition_file(name))
}

/// Whether a file in the `package` folder may be one of its definitions, or its manifest.
pub fn is_definition_file(name: &str) -> bool {
    !name.contains(['/', '\\'])
        && !name.starts_with('.')
        && name.strip_suffix(".json").is_some_and(|stem| !stem.is_empty())
}

/// The resources of a package, in the order of their file names. Files that are no JSON resource are left out.
pub fn resources(archive: impl Read) -> Result<Vec<Document>, Unreadable> {
    let mut files = Vec::new();
    each_file(archive, |path, bytes| {
        if let Some(name) = in_package(path).filter(|name| *name != "package.json") {
            files.push((name.to_owned(), bytes));
        }
        Ok(())
    })?;
    files.sort();
    Ok(files.into_iter().filter_map(|(_, bytes)| json::parse(bytes).ok()).collect())
}
