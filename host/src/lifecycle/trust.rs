//! The trust file: whose signatures an adapter needs before this station runs it.
//!
//! `trust.toml` in the data directory. It is read whenever it is needed, so that a change needs no restart; what it says
//! is decided here, what a signature is in `adapter::signature`.
//!
//! ```toml
//! [keys]                                    # names for public keys, as `polymeter adapter keygen` prints them
//! acme = "ed25519:…"
//! north = { key = "ed25519:…", expires = "2027-12-31" }
//!
//! [[rule]]                                  # the first rule that names an adapter decides
//! adapters = ["usp", "acme_*"]              # `*` at the end stands for any rest
//! vendor = "Acme"                           # optional: what its manifest must say
//! realms = ["usp"]                          # optional: address spaces it may claim, and so whose keys it may use
//! all_of = ["acme"]                         # each of these has signed
//! any_of = ["north", "north_deputy"]        # and at least one of these
//!
//! [revoked]
//! keys = ["acme_2023", "ed25519:…"]         # names or keys: a file signed by one is refused
//! digests = ["<sha-256>"]                   # of the file, before or after any signature was added; one that was let in here
//!                                           # stands for its whole version, however it is signed
//! ```

use super::dropins::Print;
use super::{Lifecycle, LifecycleError};
use crate::adapter::{Manifest, PublicKey, SignatureError, Signed, signatures};
use crate::limits::{TRUST_BLANK_LOOKS, TRUST_BYTES_MAX};
use crate::model::{Civil, Day, Digest};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;
use toml::Spanned;

/// What the trust file says.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: BTreeMap<String, Key>,
    rules: Vec<Rule>,
    revoked_keys: Vec<PublicKey>,
    revoked_digests: Vec<String>,
}

#[derive(Clone, Debug)]
struct Key {
    key: PublicKey,
    /// The last day on which its signatures count.
    expires: Option<Day>,
}

#[derive(Clone, Debug)]
struct Rule {
    adapters: Vec<String>,
    vendor: Option<String>,
    realms: Vec<String>,
    all_of: Vec<String>,
    any_of: Vec<String>,
}

/// Whether unsigned files are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsigned {
    Refused,
    /// `serve --dev`.
    Accepted,
}

/// Why a file is not trusted; each reason has its own text, and says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Distrust {
    #[error(
        "unsigned: sign it with `polymeter adapter sign` and name the key in trust.toml, or start the station with --dev"
    )]
    Unsigned,
    #[error("{0}")]
    Damaged(#[from] SignatureError),
    #[error("no rule in trust.toml names the adapter `{0}`; add one that says who may sign it")]
    NoRule(String),
    #[error("trust.toml wants `{wanted}` as the vendor of `{adapter}`, its manifest says `{found}`")]
    Vendor { adapter: String, wanted: String, found: String },
    #[error(
        "trust.toml does not let `{adapter}` speak for devices of realm `{realm}`; name it under `realms` if it may"
    )]
    Realm { adapter: String, realm: String },
    #[error("the signature of {} is missing; trust.toml wants all of them for `{adapter}`", .missing.join(", "))]
    Missing { adapter: String, missing: Vec<String> },
    #[error("none of {} has signed; trust.toml wants one of them for `{adapter}`", .any_of.join(", "))]
    NoneOf { adapter: String, any_of: Vec<String> },
    #[error("signed by {0}, which trust.toml does not know, and by nobody that it asks for")]
    UnknownKey(PublicKey),
    #[error("the key `{name}` expired on {on}; have the file signed with its successor")]
    Expired { name: String, on: Day },
    #[error("signed with the revoked key `{0}`; have the file signed with its successor")]
    RevokedKey(String),
    #[error("revoked: trust.toml names {} among the digests that must not run", .0.get(..12).unwrap_or(.0))]
    RevokedDigest(String),
}

/// When a file is judged: keys expire for what comes in, not for what was let in before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    At(Civil),
    Again,
}

/// The trust file, as it was looked at last.
#[derive(Default)]
pub(super) struct TrustSeen {
    /// At the first look it is no news: what serves was judged when it began to.
    looked_before: bool,
    print: Option<Print>,
    /// For so many looks it has said nothing, and what serves has not been judged by that.
    blank_looks: u32,
}

impl Lifecycle {
    /// Looks at the trust file, and judges what serves by it if it has changed; what could not be read serves again once it
    /// can be. Waits for nothing that comes in: a revocation is not held up by a component that is being checked.
    pub fn follow_trust(&self) {
        let mut seen = self.trust_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let print = self.trust_print();
        let first = !std::mem::replace(&mut seen.looked_before, true);
        let changed = std::mem::replace(&mut seen.print, print) != print && !first;
        let before = self.unjudged();
        if changed || seen.blank_looks > 0 || before.is_some() {
            let unjudged = self.believe(&mut seen.blank_looks).err().map(|error| error.to_string());
            if let Some(error) = unjudged.as_ref().filter(|_| unjudged != before) {
                tracing::warn!(error, "what serves goes on serving");
            }
            *self.unjudged.lock().unwrap_or_else(PoisonError::into_inner) = unjudged;
        }
        if let Err(error) = self.restore_unreadable() {
            tracing::warn!(%error, "what can be read again does not serve yet");
        }
    }

    /// Why what serves cannot be judged by the trust file: that is tried at every look, and told until it can be.
    pub fn unjudged(&self) -> Option<String> {
        self.unjudged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever writes a file anew empties it first, and whoever replaces it may take it away before: until it has been so for
    /// a while that is no word about what serves. What comes in is judged by the file as it is.
    fn believe(&self, blank_looks: &mut u32) -> Result<(), LifecycleError> {
        let trust = self.trust();
        if trust.as_ref().is_ok_and(Trust::says_nothing) && *blank_looks < TRUST_BLANK_LOOKS {
            *blank_looks += 1;
            return Ok(());
        }
        *blank_looks = 0;
        self.review(&trust?)
    }

    pub(super) fn trust_print(&self) -> Option<Print> {
        self.data.metadata(super::TRUST_FILE).ok().map(|about| Print::of(&about))
    }
}

impl Trust {
    /// Reads the text of a trust file; an error names its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TRUST_BYTES_MAX {
            return Err(format!("{} bytes; a trust file has at most {TRUST_BYTES_MAX}", text.len()));
        }
        let raw: Raw = toml::from_str(text).map_err(|error| {
            // What a date without quotes looks like to whoever reads the file.
            let date = error.message().contains("$__toml_private_datetime");
            let why = if date { "a date stands in quotes, as \"2027-12-31\"" } else { error.message() };
            error.span().map_or_else(|| why.to_owned(), |span| format!("line {}: {why}", line_of(text, span.start)))
        })?;
        raw.resolve(text)
    }

    /// Who vouches for this file, in words; or why nobody does.
    pub fn judge(
        &self,
        bytes: &[u8],
        manifest: &Manifest,
        unsigned: Unsigned,
        judged: Judged,
    ) -> Result<String, Distrust> {
        let signed = signatures(bytes)?;
        self.refuse_revoked(bytes, &signed)?;
        let rule = self.rules.iter().find(|rule| rule.names(&manifest.name));
        match (rule, signed.signatures.is_empty(), unsigned) {
            (_, true, Unsigned::Accepted) => Ok("unsigned, which this station accepts with --dev".into()),
            (_, true, Unsigned::Refused) => Err(Distrust::Unsigned),
            (None, false, Unsigned::Accepted) => {
                Ok("signed by nobody known, which this station accepts with --dev".into())
            }
            (None, false, Unsigned::Refused) => Err(Distrust::NoRule(manifest.name.clone())),
            (Some(rule), false, _) => self.hold_to(rule, manifest, &signed, judged),
        }
    }

    /// Whether it could as well not be there.
    pub fn says_nothing(&self) -> bool {
        self.keys.is_empty() && self.rules.is_empty() && self.revoked_keys.is_empty() && self.revoked_digests.is_empty()
    }

    /// Whether this very file must not run.
    pub fn revokes(&self, digest: &Digest) -> bool {
        !self.revoked_digests.is_empty() && self.revoked_digests.contains(&digest.to_string())
    }

    /// Signatures can be added and taken away, so every file that this one was before it was signed (again) counts too.
    fn refuse_revoked(&self, bytes: &[u8], signed: &Signed) -> Result<(), Distrust> {
        if !self.revoked_digests.is_empty() {
            let ends = signed.signatures.iter().map(|signature| signature.covers).chain([bytes.len()]);
            for end in ends {
                let digest = Digest::of(&bytes[..end]).to_string();
                if self.revoked_digests.contains(&digest) {
                    return Err(Distrust::RevokedDigest(digest));
                }
            }
        }
        match signed.signatures.iter().find(|signature| self.revoked_keys.contains(&signature.key)) {
            Some(signature) => Err(Distrust::RevokedKey(self.name_of(&signature.key))),
            None => Ok(()),
        }
    }

    fn hold_to(&self, rule: &Rule, manifest: &Manifest, signed: &Signed, judged: Judged) -> Result<String, Distrust> {
        let adapter = manifest.name.clone();
        if let Some(wanted) = rule.vendor.clone().filter(|vendor| *vendor != manifest.vendor) {
            return Err(Distrust::Vendor { adapter, wanted, found: manifest.vendor.escape_debug().to_string() });
        }
        if !rule.realms.is_empty() && !rule.realms.contains(&manifest.realm) {
            return Err(Distrust::Realm { adapter, realm: manifest.realm.clone() });
        }
        let has_signed = |name: &&String| {
            self.keys.get(*name).is_some_and(|wanted| signed.signatures.iter().any(|s| s.key == wanted.key))
        };
        let all: Vec<&String> = rule.all_of.iter().filter(has_signed).collect();
        let any: Vec<&String> = rule.any_of.iter().filter(has_signed).collect();
        if all.is_empty() && any.is_empty() {
            let stranger = signed.signatures.iter().find(|s| !self.keys.values().any(|known| known.key == s.key));
            if let Some(stranger) = stranger {
                return Err(Distrust::UnknownKey(stranger.key));
            }
        }
        if all.len() < rule.all_of.len() {
            let missing = rule.all_of.iter().filter(|name| !has_signed(name)).cloned().collect();
            return Err(Distrust::Missing { adapter, missing });
        }
        if any.is_empty() && !rule.any_of.is_empty() {
            return Err(Distrust::NoneOf { adapter, any_of: rule.any_of.clone() });
        }
        all.iter().try_for_each(|name| self.refuse_expired(name, judged))?;
        // One of them that has not expired is enough.
        let mut expired = any.iter().map(|name| self.refuse_expired(name, judged));
        if !any.is_empty() && !expired.clone().any(|verdict| verdict.is_ok()) {
            expired.try_for_each(|verdict| verdict)?;
        }
        let names: Vec<&str> = all.into_iter().chain(any).map(String::as_str).collect();
        Ok(format!("signed by {}", names.join(", ")))
    }

    fn refuse_expired(&self, name: &str, judged: Judged) -> Result<(), Distrust> {
        let on = self.keys.get(name).and_then(|key| key.expires);
        match (on, judged) {
            (Some(on), Judged::At(now)) if now.day() > on => Err(Distrust::Expired { name: name.to_owned(), on }),
            _ => Ok(()),
        }
    }

    fn name_of(&self, key: &PublicKey) -> String {
        let named = self.keys.iter().find(|(_, known)| known.key == *key);
        named.map_or_else(|| key.to_string(), |(name, _)| name.clone())
    }
}

impl Rule {
    fn names(&self, adapter: &str) -> bool {
        self.adapters.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => adapter.starts_with(start),
            None => adapter == pattern,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    keys: BTreeMap<String, Spanned<RawKey>>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    revoked: RawRevoked,
}

struct RawKey {
    key: String,
    expires: Option<String>,
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            key: String,
            expires: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key in quotes, or { key = \"ed25519:…\", expires = \"2027-12-31\" }")
            }
            fn visit_str<E: de::Error>(self, key: &str) -> Result<RawKey, E> {
                Ok(RawKey { key: key.to_owned(), expires: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawKey, A::Error> {
                let Table { key, expires } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawKey { key, expires })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    adapters: Vec<String>,
    vendor: Option<String>,
    #[serde(default)]
    realms: Vec<String>,
    #[serde(default)]
    all_of: Vec<String>,
    #[serde(default)]
    any_of: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRevoked {
    #[serde(default)]
    keys: Vec<Spanned<String>>,
    #[serde(default)]
    digests: Vec<Spanned<String>>,
}

impl Raw {
    fn resolve(self, text: &str) -> Result<Trust, String> {
        let at = |span: std::ops::Range<usize>, why: &str| format!("line {}: {why}", line_of(text, span.start));
        let mut keys = BTreeMap::new();
        for (name, raw) in self.keys {
            let RawKey { key, expires } = raw.get_ref();
            let key: PublicKey = key.parse().map_err(|e| at(raw.span(), &format!("key `{name}`: {e}")))?;
            let expires = match expires.as_ref().map(|text| day(text).ok_or(text)).transpose() {
                Ok(expires) => expires,
                Err(text) => return Err(at(raw.span(), &format!("`{text}` is no day; write it as 2027-12-31"))),
            };
            // One signature must not count as those of two.
            if let Some((other, _)) = keys.iter().find(|(_, known): &(&String, &Key)| known.key == key) {
                return Err(at(raw.span(), &format!("`{name}` and `{other}` are the same key; name it once")));
            }
            keys.insert(name, Key { key, expires });
        }
        let mut rules = Vec::new();
        for raw in self.rule {
            let span = raw.span();
            let RawRule { adapters, vendor, realms, all_of, any_of } = raw.into_inner();
            if adapters.is_empty() {
                return Err(at(span, "name the adapters that this rule is for, such as adapters = [\"usp\"]"));
            }
            let odd = |pattern: &&String| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
            if let Some(pattern) = adapters.iter().find(odd) {
                return Err(at(span, &format!("`{pattern}`: a `*` stands for any rest, and only at the end")));
            }
            if all_of.is_empty() && any_of.is_empty() {
                return Err(at(span, "a rule without all_of and any_of would let everybody sign; name keys"));
            }
            if let Some(name) = all_of.iter().chain(&any_of).find(|name| !keys.contains_key(*name)) {
                return Err(at(span, &format!("the key `{name}` is not under [keys]; add it there")));
            }
            rules.push(Rule { adapters, vendor, realms, all_of, any_of });
        }
        let mut revoked_keys = Vec::new();
        for raw in self.revoked.keys {
            let named = keys.get(raw.get_ref()).map(|key| key.key);
            let key = named.map_or_else(|| raw.get_ref().parse(), Ok);
            let why = |_| at(raw.span(), &format!("`{}` is neither a name under [keys] nor a key", raw.get_ref()));
            revoked_keys.push(key.map_err(why)?);
        }
        let mut revoked_digests = Vec::new();
        for raw in self.revoked.digests {
            let digest = raw.get_ref().to_ascii_lowercase();
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(at(raw.span(), "a digest has 64 hex digits; `polymeter adapter list --json` shows them"));
            }
            revoked_digests.push(digest);
        }
        Ok(Trust { keys, rules, revoked_keys, revoked_digests })
    }
}

/// Only `YYYY-MM-DD`; what others also take for a day is more easily misread.
fn day(text: &str) -> Option<Day> {
    text.parse().ok().filter(|day: &Day| day.to_string() == text)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}
