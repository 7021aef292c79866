//! A file of an export, read out line by line: each resource as it stood at the cut, if it may be told still.
//!
//! What a person has withdrawn, restricted or had erased since it was put on the list is passed over in silence, so that a
//! file may have fewer lines than its manifest says, and never one too many.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::{About, File, OUTCOME, SAID, covers, files};
use super::veil::Veil;
use super::{absent, interaction};
use crate::exchange::kinds;
use crate::exchange::pull::{ConsentsSeen, Sight, Visible};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, uploads};
use crate::fhir::outcome::{Id, Issue, Reader, operation_outcome};
use crate::fhir::search::{Subset, Summary};
use crate::fhir::tree::write;
use crate::policy::access::Principal;
use crate::store::{ExportId, ExportPieceHead, ExportState};

/// Lines that are in memory at once.
const CHUNK: usize = 100;

/// A file that is being read out.
pub struct Download {
    gateway: Arc<Gateway>,
    job: ExportId,
    principal: Principal,
    about: About,
    pieces: VecDeque<ExportPieceHead>,
    lines: VecDeque<(u64, u32)>,
    /// What is said of the export itself.
    said: VecDeque<String>,
    veil: Option<Veil>,
    gone: bool,
    /// How much that is listed is damaged, in the file of what is missing alone: what reads the others knows one type.
    damaged: Option<usize>,
}

impl Gateway {
    /// Begins to read a file out. It goes on record before its first byte leaves.
    pub async fn download(self: &Arc<Self>, caller: &Caller<'_>, id: &str, name: &str) -> Result<Download, Refusal> {
        let job = self.own_export(caller, id).await?;
        let about = About::of(&job)?;
        covers(caller, &about)?;
        // What was permitted was permitted for this.
        if !caller.principal.purposes.contains(&about.purpose) {
            let text = "The client may no longer state the purpose that the export was made for.";
            return Err(self.refused(caller, Refusal::one(Id::ScopeInsufficient, "", text)).await);
        }
        if job.state != ExportState::Finished {
            return Err(absent());
        }
        let pieces = self.store.export_pieces(job.id).await?;
        let file = files(&pieces, self.config.export_file_lines).into_iter().find(|file| file.name() == name);
        let tells_damage = file.as_ref().is_some_and(|file| file.kind == OUTCOME);
        let (pieces, gone, said) = match file {
            Some(File { pieces, gone, .. }) => (pieces.iter().cloned().collect(), gone, VecDeque::new()),
            None if name == SAID && !about.said.is_empty() => (VecDeque::new(), false, about.said.clone().into()),
            None => return Err(absent()),
        };
        let path = format!("exports/{}/{name}", uploads::printed(job.id));
        let record = Author::of(self, caller).with_query(&path, &[]).record(Act::Operation, None, &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        let veil = about.asked.deidentified.then(|| Veil::of(&job));
        let principal = Principal { purposes: vec![about.purpose.clone()], ..caller.principal.clone() };
        Ok(Download {
            gateway: self.clone(),
            job: job.id,
            principal,
            about,
            pieces,
            lines: VecDeque::new(),
            said,
            veil,
            gone,
            damaged: tells_damage.then_some(0),
        })
    }
}

impl Download {
    /// The next piece; nothing when all is said.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(said) = self.said.pop_front() {
            return Ok(Some(format!("{said}\n").into_bytes()));
        }
        loop {
            while self.lines.is_empty() {
                let Some(head) = self.pieces.pop_front() else { return Ok(self.lost()) };
                // Who is suspended, or whose export is gone, gets no further.
                self.gateway.stands(&self.principal).await?;
                self.lines = self.gateway.store.export_lines(self.job, &head).await?.ok_or_else(absent)?.into();
            }
            let some = self.lines.drain(..self.lines.len().min(CHUNK)).collect();
            let mut out = Vec::new();
            let mut seen = ConsentsSeen::default();
            let found = self.gateway.store.standing_versions(some).await?;
            if let Some(damaged) = &mut self.damaged {
                // What was mended since is in no file of this export.
                *damaged += found.damaged.len();
                continue;
            }
            for stored in found.rows {
                let Some(rule) = kinds::kind(&stored.kind) else { continue };
                let Some(interaction) = interaction(&self.principal, rule) else { continue };
                let now_ms = self.gateway.now_ms();
                let caller = Caller {
                    principal: &self.principal,
                    request_id: "",
                    purpose: &self.about.purpose,
                    address: None,
                    looked_at: None,
                };
                let sight = self.gateway.visible(&caller, rule, interaction, stored, now_ms, &mut seen).await?;
                if let Sight::Visible(visible) = sight {
                    self.write(&visible, &mut out);
                }
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
    }

    /// The line that stands for all that is damaged, once.
    fn lost(&mut self) -> Option<Vec<u8>> {
        let text = match self.damaged.take()? {
            0 => return None,
            1 => "A resource that was asked for is damaged, so that it cannot be read.".to_owned(),
            many => format!("{many} resources that were asked for are damaged, so that they cannot be read."),
        };
        let reader = Reader { pages: &self.gateway.pages, is_xml: false };
        let outcome = operation_outcome(&[Issue::new(Id::ResourceDamaged, "", text)], reader);
        Some(format!("{outcome}\n").into_bytes())
    }

    fn write(&self, visible: &Visible, out: &mut Vec<u8>) {
        let stored = &visible.content.stored;
        if let Some(veil) = &self.veil {
            let Some(told) = veil.told(&self.gateway, visible) else { return };
            out.extend_from_slice(told.as_bytes());
        } else if self.gone {
            let mut line = String::from(
                r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"#,
            );
            write::string(&format!("{}/{}", stored.kind, stored.logical_id()), &mut line);
            line.push_str("}}]}");
            out.extend_from_slice(line.as_bytes());
        } else {
            let elements = self.about.asked.elements_of(&stored.kind);
            let subset = Subset { summary: Summary::No, elements: &elements };
            match self.gateway.registry.structure(&stored.kind) {
                Some(structure) if !subset.is_whole() => {
                    let Some(document) = visible.content.document() else { return };
                    out.extend_from_slice(subset.write(document, &structure).as_bytes());
                }
                _ => out.extend_from_slice(&stored.payload),
            }
        }
        out.push(b'\n');
    }
}
