//! The packs that there are: those of the program and those of the operator, several versions of one side by side.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{Mistake, Pack};

macro_rules! packs {
    ($($folder:literal: $($file:literal)*;)*) => {
        /// The packs that are part of the program: folder, then each file with its text.
        const BUILT_IN: &[(&str, &[(&str, &str)])] = &[
            $(($folder, &[$(($file, include_str!(concat!("../../profiles/packs/", $folder, "/", $file)))),*])),*
        ];
    };
}

packs! {
    "be-monitoring": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "ch-epr": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "document.json" "observation.json" "reference.json" "submission.json" "request.json";
    "de-hddt": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "words.csv" "request.json";
    "de-mio-diga": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "application.json" "composition.json" "observation.json" "patient.json" "request.json";
    "dk-fut": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "ee-healthsense": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "eu-r4": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "fi-kanta": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "fr-ens": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "words.csv" "device.json" "observation.json" "request.json";
    "lt-vitalsigns": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "nl-medmij": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "words.csv" "observation.json" "patient.json" "request.json";
    "nl-zib2020": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "observation.json" "request.json";
    "no-pmd": "pack.toml" "codes.csv" "errors.csv" "measures.csv" "words.csv" "observation.json" "request.json";
}

static PACKS: LazyLock<Vec<Arc<Pack>>> = LazyLock::new(|| {
    let compiled = BUILT_IN.iter().map(|(folder, files)| {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        match Pack::compile(&files) {
            Ok(pack) => Arc::new(pack),
            Err(mistakes) => {
                let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                panic!("{folder} is part of the program, and a test compiles it: {}", mistakes.join("; "))
            }
        }
    });
    compiled.collect()
});

/// The packs that are part of the program, by id.
pub fn built_in() -> &'static [Arc<Pack>] {
    &PACKS
}

/// Packs by id and version.
#[derive(Clone, Debug)]
pub struct Shelf {
    packs: Vec<Arc<Pack>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Shelf { packs: PACKS.clone() }
    }
}

impl Shelf {
    /// Adds a pack by its files, in place of one with the same id and version. The error says everything that is wrong.
    pub fn add(&mut self, files: &BTreeMap<String, String>) -> Result<Arc<Pack>, Vec<Mistake>> {
        let pack = Arc::new(Pack::compile(files)?);
        self.packs.retain(|known| (&known.id, known.version) != (&pack.id, pack.version));
        self.packs.push(Arc::clone(&pack));
        Ok(pack)
    }

    /// The newest pack that a name means: `fr-ens`, `fr-ens@3` or `fr-ens@3.1.0`.
    pub fn find(&self, name: &str) -> Option<&Arc<Pack>> {
        let (id, version) = name.split_once('@').map_or((name, None), |(id, version)| (id, Some(version)));
        let meant = |pack: &&Arc<Pack>| pack.id == id && version.is_none_or(|version| pack.version.begins(version));
        self.packs.iter().filter(meant).max_by_key(|pack| pack.version)
    }

    /// Every pack, the newest version of each id first.
    pub fn all(&self) -> Vec<&Arc<Pack>> {
        let mut all: Vec<_> = self.packs.iter().collect();
        all.sort_by(|one, other| (&one.id, other.version).cmp(&(&other.id, one.version)));
        all
    }
}
