//! Writing a package: the .tgz of npm layout that SUSHI and validators load.
//!
//! The same files always give the same bytes: no times, no owners, in the order of their names.

use std::borrow::Cow;

use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};

/// What stands in `package.json`.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub canonical: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    pub license: &'a str,
    /// Names and versions of the packages that it builds on.
    pub dependencies: &'a [(&'a str, &'a str)],
}

/// Packs resources and examples, each with its file name, beside a manifest and an index. `whole` makes of each what is
/// packed: one at a time, since all of them together are large.
pub fn pack(
    description: &Description<'_>,
    resources: &[(String, &Value)],
    examples: &[(String, &Value)],
    whole: impl Fn(&Value) -> Value,
) -> Vec<u8> {
    let mut files: Vec<(String, Cow<'_, Value>)> =
        vec![("package/package.json".to_owned(), Cow::Owned(manifest(description)))];
    for (folder, listed) in [("package", resources), ("package/example", examples)] {
        if !listed.is_empty() {
            files.push((format!("{folder}/.index.json"), Cow::Owned(index(listed))));
        }
        files.extend(listed.iter().map(|(name, value)| (format!("{folder}/{name}"), Cow::Borrowed(*value))));
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut builder = tar::Builder::new(encoder);
    for (path, value) in &files {
        let bytes = match value {
            Cow::Owned(made) => made.to_string(),
            Cow::Borrowed(resource) => whole(resource).to_string(),
        }
        .into_bytes();
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, path, bytes.as_slice()).expect("names are short and a Vec takes every byte");
    }
    let encoder = builder.into_inner().expect("a Vec takes every byte");
    encoder.finish().expect("a Vec takes every byte")
}

fn manifest(description: &Description<'_>) -> Value {
    let Description { name, version, canonical, title, description, license, dependencies } = description;
    let dependencies: Map<String, Value> =
        dependencies.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect();
    json!({
        "name": name,
        "version": version,
        "canonical": canonical,
        "title": title,
        "description": description,
        "license": license,
        "type": "IG",
        "tools-version": 3,
        "fhirVersions": ["4.0.1"],
        "dependencies": dependencies,
        "directories": {"lib": "package", "example": "package/example"},
    })
}

fn index(resources: &[(String, &Value)]) -> Value {
    let kept = ["resourceType", "id", "url", "version", "kind", "type", "supplements", "content"];
    let listed = resources.iter().map(|(name, resource)| {
        let mut entry = Map::from_iter([("filename".to_owned(), json!(name))]);
        // A type that is no text is that of another resource than a structure.
        let members = kept.iter().filter_map(|key| Some(((*key).to_owned(), resource.get(*key)?.clone())));
        entry.extend(members.filter(|(_, value)| value.is_string()));
        Value::Object(entry)
    });
    json!({"index-version": 2, "files": listed.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::package::{Package, each_file};

    #[test]
    fn what_is_packed_can_be_read() {
        let description = Description {
            name: "test.guide",
            version: "1.2.3",
            canonical: "https://example.org/fhir",
            title: "A guide",
            description: "For a test.",
            license: "CC0-1.0",
            dependencies: &[("hl7.fhir.r4.core", "4.0.1")],
        };
        let set = json!({"resourceType": "ValueSet", "id": "one", "url": "https://example.org/fhir/ValueSet/one"});
        let example = json!({"resourceType": "Patient", "id": "p"});
        let (sets, examples) = ([("ValueSet-one.json".to_owned(), &set)], [("Patient-p.json".to_owned(), &example)]);
        let bytes = pack(&description, &sets, &examples, Value::clone);
        assert_eq!(bytes, pack(&description, &sets, &examples, Value::clone));
        let package = Package::read(&bytes).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("test.guide", "1.2.3"));
        assert_eq!(package.dependencies, [("hl7.fhir.r4.core".to_owned(), "4.0.1".to_owned())]);
        assert_eq!(package.heads().len(), 1);
        let mut paths = Vec::new();
        each_file(bytes.as_slice(), |path, _| {
            paths.push(path.to_owned());
            Ok(())
        })
        .unwrap();
        let expected = [
            "package/.index.json",
            "package/ValueSet-one.json",
            "package/example/.index.json",
            "package/example/Patient-p.json",
            "package/package.json",
        ];
        assert_eq!(paths, expected);
    }
}
