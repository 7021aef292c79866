//! `audit`: the transparency log without having to trust the gateway that keeps it.
//!
//! `verify` needs a key and files, or a log's address: no configuration, no store. Every entry is read and the tree is made
//! anew, so that what was changed, removed or put in between shows wherever it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::Value;

use super::{Source, assemble, runtime, token};
use crate::tlog::{Address, Checkpoint, Content, Doubt, Edge, Hash, Proof, Shown, Subtree, TILE_WIDTH, Verifier, leaf};

#[derive(Debug, Subcommand)]
pub(super) enum Options {
    /// Verify proofs of records, and that a log is whole and continues what was seen of it before.
    Verify(Verify),
    /// Print the key by which the log of this installation is verified.
    Key(Source),
    /// Write the log as a tree of files (C2SP tlog-tiles) that any web server can show.
    Export(Export),
    /// Compare every record of the audit with what the log says of it.
    Check(Source),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Proofs as the gateway gives them: AuditEvent/ID/$proof.
    proofs: Vec<PathBuf>,
    /// The log's key, NAME+ID+KEY, or a file that holds it. It must come from somewhere else than the proofs.
    #[arg(long)]
    key: String,
    /// The log: a folder, or its address, e.g. https://gateway.example/log.
    #[arg(long)]
    log: Option<String>,
    /// Checkpoints that were seen before: the log must continue each of them.
    #[arg(long, requires = "log")]
    since: Vec<PathBuf>,
    /// Certificate (PEM) to trust besides the system's.
    #[arg(long)]
    cacert: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    source: Source,
    /// Folder to write to.
    #[arg(long)]
    to: PathBuf,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match options {
        Options::Verify(options) => runtime()?.block_on(verify(options)),
        Options::Key(source) => with_gateway(source, async |gateway| {
            println!("{}", gateway.log_key());
            Ok(ExitCode::SUCCESS)
        }),
        Options::Export(options) => with_gateway(&options.source, async |gateway| export(gateway, &options.to).await),
        Options::Check(source) => with_gateway(source, check),
    }
}

/// Runs beside a gateway that serves.
fn with_gateway(
    source: &Source,
    work: impl AsyncFnOnce(&crate::exchange::Gateway) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let gateway = assemble::beside(&config)?;
    let done = runtime()?.block_on(work(&gateway));
    runtime()?.block_on(gateway.store.close());
    done
}

async fn export(gateway: &crate::exchange::Gateway, folder: &Path) -> anyhow::Result<ExitCode> {
    let note = gateway.log_checkpoint().await.map_err(|refusal| refused(&refusal))?;
    let head = Checkpoint::open(&note, gateway.log_key())?;
    let mut count = 0;
    for address in Address::all(head.size) {
        let bytes = gateway.log_tile(address).await.map_err(|refusal| refused(&refusal))?;
        write(&folder.join(address.to_string()), &bytes.context("the log lost entries while it was written")?)?;
        count += 1;
    }
    write(&folder.join("key"), format!("{}\n", gateway.log_key()).as_bytes())?;
    // Last: who finds it finds the tiles, too.
    write(&folder.join("checkpoint"), note.as_bytes())?;
    println!("{} entries in {count} tile(s) written to {}", head.size, folder.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

async fn check(gateway: &crate::exchange::Gateway) -> anyhow::Result<ExitCode> {
    let (records, changed) = gateway.store.log_changed().await?;
    let missing = gateway.store.log_missing(gateway.now_ms()).await?;
    let added = gateway.store.log_added().await?;
    let misfiled = gateway.misfiled().await.map_err(|refusal| refused(&refusal))?;
    let blanked = gateway.blanked().await.map_err(|refusal| refused(&refusal))?;
    gateway.log_checkpoint().await.map_err(|refusal| refused(&refusal))?;
    println!(
        "{records} record(s) compared with the log: {} changed, {} misfiled, {} missing",
        changed.len(),
        misfiled.len(),
        missing.len()
    );
    for number in &changed {
        println!("entry {number}: the record is not what was committed to");
    }
    for number in &added {
        println!("record {number}: no entry of the log is its own");
    }
    for number in &missing {
        println!("entry {number}: its record is gone, and no term of keeping explains it");
    }
    for number in &misfiled {
        println!(
            "entry {number}: the record is not filed under what it says: its person, its time, its client or its id"
        );
    }
    for number in &blanked.unexplained {
        println!("entry {number}: the record says less, and no erasure says that it left that");
    }
    if blanked.unproven > 0 {
        println!("{} record(s) say less since erasures that did not say what they left", blanked.unproven);
    }
    let found = [&changed, &misfiled, &missing, &added, &blanked.unexplained].iter().any(|numbers| !numbers.is_empty());
    Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn refused(refusal: &crate::exchange::Refusal) -> anyhow::Error {
    let texts: Vec<&str> = refusal.issues.iter().map(|issue| issue.text.as_ref()).collect();
    anyhow::anyhow!(texts.join(" "))
}

async fn verify(options: &Verify) -> anyhow::Result<ExitCode> {
    let key = key(&options.key)?;
    if options.proofs.is_empty() && options.log.is_none() {
        bail!("there is nothing to verify: name proofs, or a log with --log");
    }
    let mut believed = true;
    let mut seen: Vec<(PathBuf, Checkpoint)> = Vec::new();
    for path in &options.proofs {
        match Proof::parse(&read(path)?).and_then(|proof| proof.verify(&key)) {
            Ok(shown) => {
                println!("{}: entry {} of {}: {}", path.display(), shown.index, shown.checkpoint.size, told(&shown));
                seen.push((path.clone(), shown.checkpoint));
            }
            Err(doubt) => believed = doubted(path, doubt),
        }
    }
    for path in &options.since {
        match Checkpoint::open(&read(path)?, &key) {
            Ok(checkpoint) => seen.push((path.clone(), checkpoint)),
            Err(doubt) => believed = doubted(path, doubt),
        }
    }
    if let Some(place) = &options.log {
        let log = Log::at(place, options.cacert.as_deref())?;
        believed &= whole(&log, place, &key, &seen).await?;
    }
    Ok(if believed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn doubted(path: &Path, doubt: Doubt) -> bool {
    println!("{}: NOT BELIEVED: {doubt}", path.display());
    false
}

/// The key itself, or a file with it.
fn key(given: &str) -> anyhow::Result<Verifier> {
    if let Ok(key) = Verifier::parse(given) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(given).context("--key is neither NAME+ID+KEY nor a file that can be read")?;
    Verifier::parse(&text).with_context(|| format!("reading {given}"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// What a record says in a line.
fn told(shown: &Shown) -> String {
    let event: Value = serde_json::from_slice(&shown.record).unwrap_or_default();
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let kind = event.pointer("/subtype/0/code").or_else(|| event.pointer("/type/code")).and_then(Value::as_str);
    format!(
        "{} {} by {} ({})",
        text("/recorded"),
        kind.unwrap_or("-"),
        text("/agent/0/who/identifier/value"),
        text("/outcome")
    )
}

/// Reads every entry and makes the tree anew: it must have the signed root, and on the way every root that was seen.
async fn whole(log: &Log, place: &str, key: &Verifier, seen: &[(PathBuf, Checkpoint)]) -> anyhow::Result<bool> {
    let note = String::from_utf8(log.file("checkpoint").await?).context("the checkpoint is no text")?;
    let head = match Checkpoint::open(&note, key) {
        Ok(head) => head,
        Err(doubt) => return Ok(doubted(Path::new(place), doubt)),
    };
    let mut believed = true;
    let tiles = match log.hash_tiles(head.size) {
        Ok(tiles) => tiles,
        Err(path) => {
            println!("{}: NOT BELIEVED: it is no tile of a log", path.display());
            return Ok(false);
        }
    };
    let held = Held { log, place, tiles };
    for tile in Address::all(head.size).filter(|tile| matches!(tile.content, Content::Hashes(_))) {
        let Content::Hashes(level) = tile.content else { continue };
        if !held.tiles.get(&(level, tile.index)).is_some_and(|widths| widths.contains(&tile.width)) {
            println!("{place}: NOT BELIEVED: {tile} is missing");
            believed = false;
        }
    }
    let (mut edge, mut complete) = (Edge::default(), Vec::new());
    let compare = |edge: &Edge| {
        let at = |(_, checkpoint): &&(PathBuf, Checkpoint)| checkpoint.size == edge.size();
        seen.iter().filter(at).fold(true, |stands, (path, checkpoint)| {
            stands & (checkpoint.root == edge.root() || doubted(path, Doubt::NotConsistent))
        })
    };
    believed &= compare(&edge);
    for address in Address::all(head.size).filter(|tile| tile.content == Content::Entries) {
        let mut leaves = Vec::with_capacity(TILE_WIDTH as usize);
        for entry in entries(&log.file(&address.to_string()).await?)? {
            leaves.push(leaf(entry));
            edge.push(leaf(entry), &mut complete);
            believed &= compare(&edge);
        }
        believed &= held.stands(0, address.index, &leaves).await?;
    }
    let mut above: BTreeMap<(u8, u64), Vec<Hash>> = held.tiles.keys().map(|tile| (*tile, Vec::new())).collect();
    complete.sort_unstable_by_key(|subtree: &Subtree| (subtree.level, subtree.index));
    for subtree in &complete {
        if let Some(hashes) = above.get_mut(&(subtree.level, subtree.index / TILE_WIDTH)) {
            hashes.push(subtree.root);
        }
    }
    for ((level, index), hashes) in above {
        // Those of the lowest level were compared with their entries, as far as there are any.
        if level > 0 || index >= head.size.div_ceil(TILE_WIDTH) {
            believed &= held.stands(level, index, &hashes).await?;
        }
    }
    for (path, checkpoint) in seen {
        if checkpoint.size > head.size {
            println!("{}: the log has {} entries, of which {} were seen", path.display(), head.size, checkpoint.size);
            believed = doubted(path, Doubt::NotConsistent);
        }
    }
    if (edge.size(), edge.root()) != (head.size, head.root) {
        println!("{place}: NOT BELIEVED: the entries do not make the root that was signed");
        return Ok(false);
    }
    if believed {
        let tiles: usize = held.tiles.values().map(Vec::len).sum();
        println!(
            "{place}: {} entries make the signed root; {} checkpoint(s) continued; {tiles} tile(s) of hashes are of them",
            head.size,
            seen.len()
        );
    }
    Ok(believed)
}

/// Every file in a folder and in those inside it; what cannot be read is missed where it is needed.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Entries of a bundle, each after its length.
fn entries(mut bundle: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk() {
        let (entry, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("a bundle is cut off")?;
        entries.push(entry);
        bundle = rest;
    }
    if bundle.is_empty() { Ok(entries) } else { bail!("a bundle is cut off") }
}

/// Tiles of hashes that lie in a log, by level and index: how many hashes each is to have. Of a tile that was not full yet,
/// several may lie there.
type Tiles = BTreeMap<(u8, u64), Vec<u64>>;

/// What a log holds beside its entries, which follows from them.
struct Held<'l> {
    log: &'l Log,
    place: &'l str,
    tiles: Tiles,
}

impl Held<'_> {
    /// Whether the tiles of that place are what the entries make.
    async fn stands(&self, level: u8, index: u64, hashes: &[Hash]) -> anyhow::Result<bool> {
        let mut stands = true;
        for width in self.tiles.get(&(level, index)).into_iter().flatten() {
            let address = Address { content: Content::Hashes(level), index, width: *width };
            let expected = hashes.get(..*width as usize).map(<[Hash]>::concat);
            if Some(self.log.file(&address.to_string()).await?) != expected {
                println!("{}: NOT BELIEVED: {address} is not what the entries make", self.place);
                stands = false;
            }
        }
        Ok(stands)
    }
}

/// Where a log lies.
enum Log {
    Folder(PathBuf),
    Address(String, reqwest::Client),
}

impl Log {
    fn at(place: &str, cacert: Option<&Path>) -> anyhow::Result<Log> {
        Ok(if place.contains("://") {
            Log::Address(place.trim_end_matches('/').to_owned(), token::http(cacert)?)
        } else {
            Log::Folder(PathBuf::from(place))
        })
    }

    /// The tiles of hashes that there are: of a folder those that lie there, else those that there must be. The error is a
    /// file among them that is none.
    fn hash_tiles(&self, size: u64) -> Result<Tiles, PathBuf> {
        let mut tiles = Tiles::new();
        let mut add = |address: Address| {
            if let Content::Hashes(level) = address.content {
                tiles.entry((level, address.index)).or_default().push(address.width);
            }
        };
        match self {
            Log::Address(..) => Address::all(size).for_each(add),
            Log::Folder(folder) => {
                let folder = folder.join("tile");
                let mut found = Vec::new();
                files(&folder, &mut found);
                for path in found {
                    let name = path.strip_prefix(&folder).ok().and_then(Path::to_str);
                    match name.and_then(|name| Address::parse(name).ok()) {
                        Some(address) => add(address),
                        None => return Err(path),
                    }
                }
            }
        }
        Ok(tiles)
    }

    async fn file(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        match self {
            Log::Folder(folder) => {
                let path = folder.join(name);
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
            }
            Log::Address(address, http) => {
                let response = http.get(format!("{address}/{name}")).send().await?.error_for_status()?;
                Ok(response.bytes().await?.to_vec())
            }
        }
    }
}
