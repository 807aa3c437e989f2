//! Adapters that have served and that nobody serves now: their devices are heard and not understood, so somebody has to be told.

use super::cutover::{beside_shadow, is_blameless, is_unreadable};
use super::{Lifecycle, label};
use crate::journal::AdapterState;
use crate::model::Digest;
use crate::views::AdapterRow;

impl Lifecycle {
    /// Names whose last version went out of service other than by being retired: each in a sentence, with what to do.
    pub fn out_of_service(&self) -> Vec<String> {
        let rows = self.rows();
        let of_names = rows.chunk_by(|a, b| a.name == b.name);
        of_names.filter_map(|of_name| Some(self.gap(gone(of_name)?, of_name))).collect()
    }

    /// The same for everybody who asks: not what vendors' code said, nor what is installed.
    pub fn out_of_service_in_short(&self) -> Vec<String> {
        let rows = self.rows();
        let short = |last: &AdapterRow| {
            let AdapterRow { name, version, .. } = last;
            format!(
                "{name}: no version serves, and frames are only kept; {version} served last; \
                 `polymeter status` tells why, and what to do"
            )
        };
        rows.chunk_by(|a, b| a.name == b.name).filter_map(gone).map(short).collect()
    }

    /// A name that listeners have and that nobody serves, for everybody who asks. `None`: it has served, so the others tell of it.
    pub fn only_named(&self, name: &str, listeners: &[&str]) -> Option<String> {
        let of_name: Vec<AdapterRow> = self.rows().into_iter().filter(|row| row.name == name).collect();
        gone(&of_name).is_none().then(|| {
            format!(
                "{name}: no version serves, and listener {} names it; hand one over with `polymeter adapter install` (`polymeter adapter list` \
                 tells what became of those that are there), or correct the name in the configuration",
                listeners.join(", ")
            )
        })
    }

    fn gap(&self, last: &AdapterRow, of_name: &[AdapterRow]) -> String {
        let state = beside_shadow(last);
        let mut remedies = Vec::new();
        if is_unreadable(last) {
            remedies.push(format!("{} serves again once its file can be read", last.version));
        } else if is_blameless(last) {
            remedies.push(format!("{} serves again once trust.toml trusts it", last.version));
        } else if state == AdapterState::Quarantined {
            remedies.push(self.quarantined(last).to_string());
        }
        remedies.extend(by_hand(of_name, None));
        if remedies.is_empty() {
            remedies.push("hand over one that can serve with `polymeter adapter install`".into());
        }
        let why = match state {
            AdapterState::Quarantined | AdapterState::Rejected if !last.why.is_empty() => format!(" ({})", last.why),
            _ => String::new(),
        };
        format!(
            "{}: no version serves, and frames are only kept; {} is {}{why}; {}; or retire what nobody needs any more: \
             `polymeter adapter retire {}`",
            last.name,
            last.version,
            state.name(),
            remedies.join("; "),
            self.words_for(last)
        )
    }

    /// Nobody takes over from this version: what is installed may have been left for a reason, or cannot serve now.
    pub(super) fn nobody_takes_over(&self, from: &AdapterRow) -> String {
        let rows: Vec<AdapterRow> = self.rows().into_iter().filter(|row| row.name == from.name).collect();
        match by_hand(&rows, Some(&from.digest)) {
            None => "nobody stands by; frames are kept until a version serves".to_owned(),
            Some(how) => format!(
                "nobody takes over by itself, since nobody goes back to what was left for an older version, or what there is \
                 cannot serve now; frames are kept until a version serves; {how}"
            ),
        }
    }
}

/// What served last of a name that nobody serves any more, unless people have taken it away.
fn gone(of_name: &[AdapterRow]) -> Option<&AdapterRow> {
    if of_name.iter().any(AdapterRow::is_active) {
        return None;
    }
    let served = of_name.iter().filter(|row| row.served_ms.is_some() && row.state != AdapterState::Retired);
    served.max_by_key(|row| row.served_ms)
}

/// What people may put into service, but for this build. `None`: nothing is installed.
fn by_hand(of_name: &[AdapterRow], but: Option<&Digest>) -> Option<String> {
    let installed = of_name.iter().filter(|row| row.state.is_installed() && Some(&row.digest) != but);
    let installed: Vec<String> =
        installed.filter(|row| beside_shadow(row) != AdapterState::Quarantined).map(label).collect();
    (!installed.is_empty()).then(|| {
        format!(
            "installed: {}; `polymeter adapter activate NAME@VERSION` puts one into service, or says why it cannot serve",
            installed.join(", ")
        )
    })
}
