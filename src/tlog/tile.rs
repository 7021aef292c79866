//! Hashes in tiles of 256, as `tlog-tiles` addresses them: eight levels of the tree are made anew out of the lowest.

use std::convert::Infallible;

use super::Doubt;
use super::tree::{Hash, node, root};

/// Hashes of a full tile.
pub const TILE_WIDTH: u64 = 256;
const HEIGHT: u8 = 8;

/// A subtree over a full tile: all that must be remembered above the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// Of the tiles that hold it: 1 covers 256 entries.
    pub level: u8,
    pub index: u64,
    pub root: Hash,
}

/// The hashes at the growing end of each level that no full tile covers yet.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// Of a log that exists: for each level of `levels(size)` its hashes there.
    pub fn resume(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Edge { size, levels }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the whole log: what its size is made of stands at the edge.
    pub fn root(&self) -> Hash {
        let mut hashes = |level: u8, from: u64, count: u64| {
            let tile = self.levels.get(usize::from(level)).map_or(&[][..], Vec::as_slice);
            let from = (from % TILE_WIDTH) as usize;
            Ok::<_, Infallible>(tile.get(from..from + count as usize).unwrap_or_default().to_vec())
        };
        let Ok(root) = root(self.size, &mut |level, index| subtree(level, index, &mut hashes));
        root
    }

    /// Adds the hash of an entry; what came to be complete is to be remembered.
    pub fn push(&mut self, leaf: Hash, complete: &mut Vec<Subtree>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH as usize));
            }
            let tile = &mut self.levels[level];
            tile.push(hash);
            if (tile.len() as u64) < TILE_WIDTH {
                return;
            }
            hash = fold(std::mem::take(tile));
            let level = level as u8 + 1;
            complete.push(Subtree { level, index: (self.size >> (HEIGHT * level)) - 1, root: hash });
        }
    }
}

/// From where and how many hashes stand at the end of each level of tiles in a log of that size.
pub fn levels(size: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..u64::BITS / u32::from(HEIGHT))
        .map(move |level| size >> (level * u32::from(HEIGHT)))
        .take_while(|count| *count > 0)
        .map(|count| {
            let width = count % TILE_WIDTH;
            (count - width, width)
        })
}

/// The hash of a complete subtree, out of hashes of a level of tiles: `hashes(level, from, count)`.
pub fn subtree<E>(
    level: u8,
    index: u64,
    hashes: &mut impl FnMut(u8, u64, u64) -> Result<Vec<Hash>, E>,
) -> Result<Hash, E> {
    let above = level % HEIGHT;
    Ok(fold(hashes(level / HEIGHT, index << above, 1 << above)?))
}

/// The hash over a power of two of hashes.
fn fold(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| node(&pair[0], &pair[pair.len() - 1])).collect();
    }
    hashes.first().copied().unwrap_or(super::EMPTY)
}

/// What lies at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Entries,
    /// Hashes of a level of tiles.
    Hashes(u8),
}

/// Which tile: `tile/0/x001/234.p/5` is what stands there after the log's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub content: Content,
    pub index: u64,
    /// 256 for a full tile.
    pub width: u64,
}

impl Address {
    /// Reads what follows `tile/`.
    pub fn parse(path: &str) -> Result<Address, Doubt> {
        let doubt = Doubt::Form("tile/LEVEL/INDEX[.p/WIDTH], the index in groups of three digits,");
        let read = || {
            let (content, rest) = path.split_once('/')?;
            let content = match content {
                "entries" => Content::Entries,
                level => Content::Hashes(number(level).filter(|level| *level < 64)? as u8),
            };
            let (index, width) = match rest.split_once(".p/") {
                None => (rest, TILE_WIDTH),
                Some((index, width)) => (index, number(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
            };
            let address = Address { content, index: grouped(index)?, width };
            // One way to write each.
            (address.to_string().strip_prefix("tile/") == Some(path)).then_some(address)
        };
        read().ok_or(doubt)
    }

    /// Every tile of a log of that size.
    pub fn all(size: u64) -> impl Iterator<Item = Address> {
        let row = |content, count: u64| {
            (0..count.div_ceil(TILE_WIDTH)).map(move |index| {
                let width = (count - index * TILE_WIDTH).min(TILE_WIDTH);
                Address { content, index, width }
            })
        };
        let hashes = levels(size)
            .enumerate()
            .flat_map(move |(level, (from, width))| row(Content::Hashes(level as u8), from + width));
        row(Content::Entries, size).chain(hashes)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.content {
            Content::Entries => formatter.write_str("tile/entries/")?,
            Content::Hashes(level) => write!(formatter, "tile/{level}/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(formatter, "x{group:03}/")?;
        }
        write!(formatter, "{:03}", groups[0])?;
        if self.width < TILE_WIDTH { write!(formatter, ".p/{}", self.width) } else { Ok(()) }
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn grouped(text: &str) -> Option<u64> {
    text.split('/').try_fold(0_u64, |index, group| {
        let digits = number(group.strip_prefix('x').unwrap_or(group)).filter(|digits| *digits < 1000)?;
        index.checked_mul(1000)?.checked_add(digits)
    })
}
