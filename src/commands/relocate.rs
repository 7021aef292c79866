//! `move` and `migrate`: the store to another place, and its tables to another schema.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{EX_USAGE, Source, assemble, backup, clock};
use crate::store::{Migrated, Store};

#[derive(Debug, clap::Args)]
pub(super) struct Move {
    #[command(flatten)]
    source: Source,
    /// Configuration of the place to move to: its `data`, `store` and `key_file` count. There must be no store.
    #[arg(long, required_unless_present = "take_back")]
    to: Option<PathBuf>,
    /// Let a store that was moved away be used again.
    #[arg(long, conflicts_with = "to")]
    take_back: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    source: Source,
    /// The schema to go to, forward or back; without one the newest.
    #[arg(long)]
    to: Option<i64>,
    /// Go back by one, for the program before this one.
    #[arg(long, conflicts_with = "to")]
    back: bool,
}

pub(super) fn relocate(options: &Move) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let (place, here) = (assemble::place(&config)?, assemble::whereabouts(&config));
    let Some(to) = &options.to else {
        let text = if Store::take_back(&place)? { "can be used again" } else { "was not moved" };
        println!("The store {here} {text}.");
        return Ok(ExitCode::SUCCESS);
    };
    let target = match assemble::configured(&Source { config: Some(to.clone()) }) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let there = assemble::whereabouts(&target);
    let moved = Store::move_to(&place, &assemble::place(&target)?, env!("CARGO_PKG_VERSION"), (clock())())
        .with_context(|| format!("moving the store {here} to the one {there}"))?;
    let code = backup::report(&moved, &there);
    println!("The store {here} is as it was and is not opened any more; `move --take-back` would let it be.");
    Ok(code)
}

pub(super) fn migrate(options: &Migrate) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let place = assemble::place(&config)?;
    let newest = Store::newest_schema();
    let found = Store::schema(&place).with_context(|| backup::looking(&config))?;
    let wanted = if options.back { found - 1 } else { options.to.unwrap_or(newest) };
    if !(1..=newest).contains(&wanted) || found > newest {
        eprintln!("The store has schema {found}; this program knows 1 to {newest}. Use the program that made it.");
        return Ok(ExitCode::from(EX_USAGE));
    }
    let Migrated { found, unread } = Store::migrate(&place, wanted)
        .with_context(|| format!("changing the tables of the store {}", assemble::whereabouts(&config)))?;
    let here = assemble::whereabouts(&config);
    if found == wanted {
        println!("The store {here} is already at schema {found}; nothing was changed.");
    } else {
        println!("The store {here} went from schema {found} to {wanted}.");
    }
    if unread > 0 {
        println!("{unread} text(s) are damaged and could not be written anew; they stay unreadable, as they were.");
    }
    if wanted < newest {
        println!("This program brings it forward again when it starts: start the older one.");
    }
    Ok(ExitCode::SUCCESS)
}
