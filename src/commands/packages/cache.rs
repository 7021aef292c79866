//! The package cache: a folder with one folder a package, `NAME#VERSION/package`, as FHIR tools share it.
//!
//! What is asked for is a file, a folder, or a name with a version; what those build on is looked for among
//! what was asked for and then in the cache. Nothing is fetched from anywhere: a package that is not here is
//! said to be missing, and its definitions are unknown.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

use crate::fhir::definitions::canonical::{self, Fit};
use crate::fhir::definitions::package::{self, Manifest};
use crate::fhir::definitions::{Package, Unreadable};

/// The definitions of R4 are part of the program.
const EMBEDDED: &str = "hl7.fhir.r4.core";

/// Other tools empty a cache folder that does not say which layout it has.
const LAYOUT: &str = "[cache]\nversion = 4\n\n[urls]\n\n[local]\n\n[packages]\n";

/// A folder of unpacked packages.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// Packages with what they build on.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What a package builds on stands before it.
    pub packages: Vec<Arc<Package>>,
    /// What is missing, one sentence each.
    pub warnings: Vec<String>,
}

impl Cache {
    pub fn new(folder: PathBuf) -> Cache {
        Cache { folder }
    }

    /// Names and versions of the packages that are here, sorted.
    pub fn list(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<(String, String)> = entries
            .filter_map(|entry| {
                let folder = entry.file_name().into_string().ok()?;
                let (name, version) = folder.split_once('#')?;
                let is_package = is_name(name) && entry.path().join("package").join("package.json").is_file();
                is_package.then(|| (name.to_owned(), version.to_owned()))
            })
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| canonical::order(&one.1, &other.1)));
        found
    }

    /// Puts a package here; the answer is what it is called.
    pub fn add(&self, source: &Path) -> anyhow::Result<String> {
        let files = if source.is_dir() { folder_files(source)? } else { archive_files(source)? };
        let manifest = files.iter().find(|(path, _)| path == "package/package.json");
        let manifest = Manifest::read(&manifest.ok_or(Unreadable::Manifest)?.1)?;
        ensure!(is_name(&manifest.name) && is_name(&manifest.version), "its name or version is none for a folder");
        let called = format!("{}#{}", manifest.name, manifest.version);
        let place = self.folder.join(&called);
        ensure!(!place.exists(), "{called} is there already; remove it first");
        if !self.folder.exists() {
            fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
            fs::write(self.folder.join("packages.ini"), LAYOUT)?;
        }
        // Written beside its place and moved there as a whole, so that nobody meets half a package.
        let half = self.folder.join(format!(".{called}.{}", std::process::id()));
        let written = write_files(&half, &files).and_then(|()| Ok(fs::rename(&half, &place)?));
        if written.is_err() {
            drop(fs::remove_dir_all(&half));
        }
        written.with_context(|| format!("writing {}", place.display()))?;
        Ok(called)
    }

    /// Removes a package.
    pub fn remove(&self, called: &str) -> anyhow::Result<()> {
        let is_package = called.split_once('#').is_some_and(|(name, version)| is_name(name) && is_name(version));
        ensure!(is_package, "a package is called NAME#VERSION");
        let place = self.folder.join(called);
        ensure!(place.is_dir(), "{called} is not in {}", self.folder.display());
        fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))
    }

    /// Loads packages and what they build on. Each is a .tgz file, a folder that holds an unpacked package,
    /// `NAME#VERSION` or `NAME` in the cache. The error is everything that was asked for and cannot be had.
    pub fn load(&self, wanted: &[String]) -> Result<Loaded, Vec<String>> {
        let (mut asked, mut mistakes) = (Vec::new(), Vec::new());
        for one in wanted {
            match self.open(one) {
                Ok(package) => asked.push(Arc::new(package)),
                Err(error) => mistakes.push(format!("package {one}: {error:#}")),
            }
        }
        if mistakes.is_empty() { Ok(self.complete(asked)) } else { Err(mistakes) }
    }

    fn open(&self, wanted: &str) -> anyhow::Result<Package> {
        let path = Path::new(wanted);
        if path.is_file() {
            let bytes = fs::read(path)?;
            return Ok(Package::read(&bytes)?);
        }
        if path.is_dir() {
            return read_folder(path);
        }
        let looks_like_file = wanted.contains(std::path::MAIN_SEPARATOR)
            || path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tgz"));
        ensure!(!looks_like_file, "there is no such file");
        let (name, version) = wanted.split_once(['#', '@']).unwrap_or((wanted, "latest"));
        match self.version_of(name, version) {
            Some(version) => read_folder(&self.folder.join(format!("{name}#{version}"))),
            None => bail!("it is not in {}", self.folder.display()),
        }
    }

    /// The version in the cache that serves the one that is declared.
    fn version_of(&self, name: &str, declared: &str) -> Option<String> {
        let versions = self.list().into_iter().filter(|(known, _)| known == name).map(|(_, version)| version);
        let fitting = versions.map(|version| (package::serves(declared, &version), version));
        let best = fitting
            .filter(|(fit, _)| *fit != Fit::No)
            .max_by(|one, other| one.0.cmp(&other.0).then_with(|| canonical::order(&one.1, &other.1)));
        best.map(|(_, version)| version)
    }

    /// Adds what packages build on, as far as it is here.
    fn complete(&self, asked: Vec<Arc<Package>>) -> Loaded {
        let mut warnings = Vec::new();
        let mut packages = asked.clone();
        let mut waiting: VecDeque<Arc<Package>> = asked.into();
        let mut tried = HashSet::new();
        while let Some(dependent) = waiting.pop_front() {
            for (name, version) in &dependent.dependencies {
                let served = packages
                    .iter()
                    .any(|each| each.name == *name && package::serves(version, &each.version) != Fit::No);
                if name == EMBEDDED || served || !tried.insert((name.clone(), version.clone())) {
                    continue;
                }
                let needs = format!("{}#{} builds on {name}#{version}", dependent.name, dependent.version);
                let found = self
                    .version_of(name, version)
                    .map(|version| read_folder(&self.folder.join(format!("{name}#{version}"))).map(Arc::new));
                match found {
                    Some(Ok(package)) => {
                        packages.push(Arc::clone(&package));
                        waiting.push_back(package);
                    }
                    Some(Err(error)) => warnings.push(format!("{needs}, which cannot be read: {error:#}")),
                    None => warnings.push(format!("{needs}, which is not in {}", self.folder.display())),
                }
            }
        }
        // A later package counts where two define the same; what was asked for counts most.
        packages.reverse();
        Loaded { packages, warnings }
    }
}

/// Whether a text can be part of a folder's name and of nothing else.
fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '+' | '$');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(allowed)
}

/// An unpacked package: the folder itself, or the `package` folder inside it.
fn read_folder(folder: &Path) -> anyhow::Result<Package> {
    let inner = folder.join("package");
    let folder = if inner.join("package.json").is_file() { inner } else { folder.to_owned() };
    let manifest = fs::read(folder.join("package.json")).map_err(|_| Unreadable::Manifest)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if package::is_definition_file(&name) && name != "package.json" && entry.path().is_file() {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(Package::from_files(&manifest, files)?)
}

type Files = Vec<(String, Vec<u8>)>;

/// Everything that the `package` folder of an archive holds.
fn archive_files(path: &Path) -> anyhow::Result<Files> {
    let file = fs::File::open(path)?;
    let mut files = Files::new();
    package::each_file(std::io::BufReader::new(file), |path, bytes| {
        if path.starts_with("package/") {
            files.push((path.to_owned(), bytes));
        }
        Ok(())
    })?;
    Ok(files)
}

/// The files of an unpacked package; links are not followed.
fn folder_files(folder: &Path) -> anyhow::Result<Files> {
    let inner = folder.join("package");
    let root = if inner.join("package.json").is_file() { inner } else { folder.to_owned() };
    let (mut files, mut waiting) = (Files::new(), vec![(root, "package".to_owned())]);
    while let Some((folder, path)) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{path}/{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push((entry.path(), path));
            } else if kind.is_file() {
                files.push((path, fs::read(entry.path())?));
            }
        }
    }
    Ok(files)
}

fn write_files(folder: &Path, files: &Files) -> anyhow::Result<()> {
    for (path, bytes) in files {
        let place = folder.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(place, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(folder: &Path, name: &str, version: &str, dependencies: &str) -> PathBuf {
        let root = folder.join(format!("{name}-{version}"));
        fs::create_dir_all(root.join("package/example")).unwrap();
        let manifest = format!(r#"{{"name":"{name}","version":"{version}","dependencies":{{{dependencies}}}}}"#);
        fs::write(root.join("package/package.json"), manifest).unwrap();
        let definition = format!(r#"{{"resourceType":"CodeSystem","url":"urn:{name}","version":"{version}"}}"#);
        fs::write(root.join("package/definition.json"), definition).unwrap();
        fs::write(root.join("package/example/one.json"), "{}").unwrap();
        root
    }

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            // Written as it is: the builder would refuse what a hostile archive holds.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn loaded(cache: &Cache, wanted: &[&str]) -> (Vec<String>, Vec<String>) {
        let wanted: Vec<String> = wanted.iter().map(|each| (*each).to_owned()).collect();
        let loaded = cache.load(&wanted).unwrap();
        (loaded.packages.iter().map(|each| format!("{}#{}", each.name, each.version)).collect(), loaded.warnings)
    }

    #[test]
    fn packages_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        assert!(cache.list().is_empty());
        for (name, version) in [("b", "1.10.0"), ("b", "1.9.0"), ("a", "1.0.0-ballot")] {
            let called = cache.add(&unpacked(folder.path(), name, version, "")).unwrap();
            assert_eq!(called, format!("{name}#{version}"));
        }
        let listed: Vec<String> = cache.list().into_iter().map(|(name, version)| format!("{name}#{version}")).collect();
        assert_eq!(listed, ["a#1.0.0-ballot", "b#1.9.0", "b#1.10.0"]);
        assert!(folder.path().join("cache/a#1.0.0-ballot/package/example/one.json").is_file());
        assert!(fs::read_to_string(folder.path().join("cache/packages.ini")).unwrap().contains("[cache]"));
        assert!(cache.add(&unpacked(folder.path(), "b", "1.9.0", "")).is_err(), "it is there already");
        cache.remove("b#1.9.0").unwrap();
        for absent in ["b#1.9.0", "b", "../cache#x", "b#../../x"] {
            assert!(cache.remove(absent).is_err(), "{absent}");
        }
        assert_eq!(cache.list().len(), 2);
    }

    #[test]
    fn an_archive_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        let manifest = ("package/package.json", br#"{"name":"n","version":"1.0.0"}"#.as_slice());
        let file = folder.path().join("n.tgz");
        for path in ["package/../../out.json", "/etc/out.json", "../out.json", "package/a\\..\\out.json"] {
            fs::write(&file, archive(&[manifest, (path, b"{}")])).unwrap();
            assert!(cache.add(&file).is_err(), "{path}");
        }
        for manifest in [r#"{"name":"../n","version":"1"}"#, r#"{"name":"n","version":"a/b"}"#, r#"{"name":"n"}"#, "{"]
        {
            fs::write(&file, archive(&[("package/package.json", manifest.as_bytes())])).unwrap();
            assert!(cache.add(&file).is_err(), "{manifest}");
        }
        assert!(cache.list().is_empty());
        fs::write(&file, archive(&[manifest, ("package/a.json", b"{}"), ("elsewhere/b.json", b"{}")])).unwrap();
        assert_eq!(cache.add(&file).unwrap(), "n#1.0.0");
        assert!(!folder.path().join("cache/n#1.0.0/elsewhere").exists());
    }

    #[test]
    fn what_packages_build_on_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        for (name, version, dependencies) in [
            ("base", "1.1.0", ""),
            ("base", "1.1.5", r#""round":"latest""#),
            ("base", "1.2.0", ""),
            ("round", "1.0.0", r#""base":"1.1.5""#),
            ("guide", "3.0.0", r#""base":"1.1.x","hl7.fhir.r4.core":"4.0.1""#),
            ("lacking", "1.0.0", r#""absent":"1.0.0""#),
        ] {
            cache.add(&unpacked(folder.path(), name, version, dependencies)).unwrap();
        }
        assert_eq!(loaded(&cache, &["guide#3.0.0"]).0, ["round#1.0.0", "base#1.1.5", "guide#3.0.0"]);
        assert_eq!(loaded(&cache, &["base"]).0, ["base#1.2.0"]);
        assert_eq!(loaded(&cache, &["base@1.1.0", "guide"]).0, ["guide#3.0.0", "base#1.1.0"]);
        let (packages, warnings) = loaded(&cache, &["lacking#1.0.0"]);
        assert_eq!(packages, ["lacking#1.0.0"]);
        assert!(warnings[0].contains("absent#1.0.0"), "{warnings:?}");
        let file = folder.path().join("base-1.1.0").display().to_string();
        assert_eq!(loaded(&cache, &[&file]).0, ["base#1.1.0"]);
        let wanted = ["absent#1.0.0", "base#9.9.9", "/nowhere/a.tgz"].map(str::to_owned);
        assert_eq!(cache.load(&wanted).unwrap_err().len(), 3);
    }
}
