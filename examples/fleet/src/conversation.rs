//! One communication as the meter's side of the rules has it: introduce, report, obey, part; with its mishap.

use crate::plan::{Mishap, Plan};
use crate::population::Member;
use crate::terminal::{Heard, Said, Terminal, Verdict};
use crate::truth::{Account, Broken, Meaning};
use crate::wire::{Lost, Wire};
use crate::world::World;
use polymeter::model::Civil;
use polymeter_sdk::checksum::crc16_modbus;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// How long a meter waits for an acknowledgement before it repeats (unified protocol §G 1), and how often it tries.
const STREAM_PATIENCE: Duration = Duration::from_secs(20);
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(3);
const TRIES: u32 = 4;
/// Without a word for this long after "no commands follow", the meter goes.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);
/// Names what the station acknowledges without naming it.
const UNNAMED: u64 = u64::MAX;

/// A meter on line.
pub struct Conversation<'a> {
    pub world: &'a World,
    pub member: &'a Member,
    pub terminal: &'a mut Terminal,
    pub account: &'a mut Account,
    pub wire: Wire,
    /// The meter's clock.
    pub now: Civil,
    /// Sent, oldest first; not proven to have been taken in.
    unproven: Vec<(Option<u64>, Meaning)>,
    /// Refusals that the meter has asked for.
    pub forgiven: u32,
    pub pending: bool,
    /// The last thing said was an answer.
    answered: bool,
    parted: bool,
    /// The next answer to a command is lost on its way.
    pub lose_answer: bool,
}

impl<'a> Conversation<'a> {
    pub async fn begin(
        world: &'a World,
        member: &'a Member,
        terminal: &'a mut Terminal,
        account: &'a mut Account,
        now: Civil,
    ) -> Result<Self, Lost> {
        let wire = Wire::open(member.transport, world.door(member), member.source).await?;
        let (unproven, forgiven, pending) = (Vec::new(), 0, false);
        let lose_answer = false;
        Ok(Self {
            world,
            member,
            terminal,
            account,
            wire,
            now,
            unproven,
            forgiven,
            pending,
            answered: false,
            parted: false,
            lose_answer,
        })
    }

    /// The whole communication of a meter that goes to sleep afterwards.
    pub async fn play(&mut self, plan: &Plan) -> Result<(), Lost> {
        self.introduce(plan.mishap == Mishap::SaidTwice).await?;
        self.report(plan).await?;
        self.obey().await?;
        self.wire.hang_up().await;
        Ok(())
    }

    /// The registration, where the protocol has one.
    pub async fn introduce(&mut self, twice: bool) -> Result<(), Lost> {
        if let Some(said) = self.terminal.registration(self.now) {
            if twice {
                self.account.trick("said twice");
                self.account.repetitions += 1;
                self.say(&[&said.frame[..], &said.frame].concat(), &said).await?;
                // The repetition's own acknowledgement is read with whatever comes next.
            } else {
                self.say(&said.frame, &said).await?;
            }
            self.now.0 += 2;
        }
        Ok(())
    }

    /// The report, and what goes wrong with it.
    pub async fn report(&mut self, plan: &Plan) -> Result<(), Lost> {
        let said = self.terminal.report(self.member, plan, self.now);
        match &plan.mishap {
            Mishap::SaidTwice if self.wire.is_datagram() => {
                self.account.trick("said twice");
                self.account.repetitions += 1;
                self.wire.send(&said.frame).await?;
                self.say(&said.frame, &said).await?;
            }
            Mishap::None | Mishap::SaidTwice => self.say(&said.frame, &said).await?,
            Mishap::Noise(noise) => {
                self.broken(noise.clone(), "noise");
                self.say(&[&noise[..], &said.frame].concat(), &said).await?;
            }
            Mishap::WrongSum => {
                self.send_damaged(&said.frame, false).await?;
                self.say(&said.frame, &said).await?;
            }
            Mishap::Tampered => {
                self.send_damaged(&said.frame, true).await?;
                self.say(&said.frame, &said).await?;
            }
            Mishap::Cut => {
                let half = said.frame[..said.frame.len() / 2].to_vec();
                self.wire.send(&half).await?;
                self.broken(half, "cut");
                return Err(Lost::OnPurpose);
            }
            Mishap::LostAcknowledgement => {
                self.account.trick("acknowledgement lost");
                self.account.sent(&said.meaning);
                self.wire.send(&said.frame).await?;
                return Err(Lost::OnPurpose);
            }
            Mishap::SecondReport => {
                self.say(&said.frame, &said).await?;
                if self.member.always_online {
                    self.now.0 += 1;
                    let second = self.terminal.report(self.member, plan, self.now);
                    self.account.trick("second report");
                    let verdict = self.exchange(&second.frame, &second).await?;
                    self.expect(verdict, Verdict::OutOfOrder, "a second report");
                }
            }
        }
        self.world.counters.reports.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Carries out commands until the station has no more.
    pub async fn obey(&mut self) -> Result<(), Lost> {
        let farewell = self.terminal.expects_farewell();
        while !self.parted {
            if !self.pending && !farewell && self.wire.is_datagram() {
                return Ok(());
            }
            let patience = if self.pending { self.terminal.command_patience(self.answered) } else { FAREWELL_PATIENCE };
            match self.hear(Instant::now() + patience).await {
                Ok(heard) => self.take(heard).await?,
                Err(Lost::Silence) if self.answered => {
                    self.account.trick("left in silence");
                    return Ok(());
                }
                Err(Lost::Closed | Lost::Silence) => return Ok(()),
                Err(lost) => return Err(lost),
            }
        }
        Ok(())
    }

    /// Sends what is to be acknowledged, and sees that it is accepted.
    pub async fn say(&mut self, bytes: &[u8], said: &Said) -> Result<(), Lost> {
        let verdict = self.exchange(bytes, said).await?;
        self.expect(verdict, Verdict::Accepted, "a frame");
        match verdict {
            Verdict::Refused(_) => Err(Lost::Closed),
            Verdict::Accepted | Verdict::OutOfOrder => Ok(()),
        }
    }

    fn expect(&mut self, verdict: Verdict, wanted: Verdict, what: &str) {
        if verdict != wanted {
            self.account.objections.push(format!("{what} at {}: answered {verdict:?}, expected {wanted:?}", self.now));
        }
    }

    /// Sends, repeats as long as nothing comes, and gives the verdict.
    async fn exchange(&mut self, bytes: &[u8], said: &Said) -> Result<Verdict, Lost> {
        self.account.sent(&said.meaning);
        self.unproven.push((Some(said.key.unwrap_or(UNNAMED)), said.meaning.clone()));
        let patience = if self.wire.is_datagram() { DATAGRAM_PATIENCE } else { STREAM_PATIENCE };
        for attempt in 0..TRIES {
            self.wire.send(if attempt == 0 { bytes } else { &said.frame }).await?;
            self.account.repetitions += u64::from(attempt > 0);
            let by = Instant::now() + patience;
            loop {
                match self.hear(by).await {
                    Ok(Heard::Acknowledged { key, verdict, clock, pending }) if Some(key) == said.key => {
                        if matches!(verdict, Verdict::Refused(_)) && self.forgiven > 0 {
                            self.forgiven -= 1;
                            continue;
                        }
                        self.world.set_clock(self.account, clock);
                        self.pending = pending;
                        if !matches!(verdict, Verdict::Refused(_)) {
                            self.prove(key);
                        }
                        return Ok(verdict);
                    }
                    Ok(heard) if said.key.is_none() => {
                        self.prove(UNNAMED);
                        self.take(heard).await?;
                        return Ok(Verdict::Accepted);
                    }
                    Ok(heard) => self.take(heard).await?,
                    Err(Lost::Silence) => break,
                    Err(lost) => return Err(lost),
                }
            }
        }
        Err(Lost::Silence)
    }

    /// The next thing the station says.
    pub async fn hear(&mut self, by: Instant) -> Result<Heard, Lost> {
        loop {
            let frame = self.wire.next(self.terminal.cutter(), by).await?;
            match self.terminal.hear(&frame, self.now) {
                Ok(heard) => return Ok(heard),
                // The last words to whoever had this port before; what is missing instead shows as silence.
                Err(_) if self.wire.is_datagram() => self.account.trick("stray datagram"),
                Err(why) => {
                    let objection = format!("a frame of the station at {}: {why}: {}", self.now, hex::encode(&frame));
                    self.account.objections.push(objection);
                }
            }
        }
    }

    /// Does what was heard, apart from the acknowledgement that somebody waits for.
    pub async fn take(&mut self, heard: Heard) -> Result<(), Lost> {
        match heard {
            Heard::Acknowledged { .. } => {}
            Heard::Commanded { answer, meaning, mut met, more } => {
                // One command at a time: the station has the answer to the one before.
                self.prove_answers();
                self.now.0 += 1;
                self.world.counters.commands.fetch_add(1, Relaxed);
                if std::mem::take(&mut self.lose_answer) {
                    self.account.trick("answer lost");
                    self.account.lost_answers += 1;
                    self.account.met.push(met);
                    self.account.sent(&meaning);
                    return Err(Lost::OnPurpose);
                }
                self.wire.send(&answer).await?;
                met.answered = true;
                self.account.met.push(met);
                self.account.sent(&meaning);
                self.unproven.push((None, meaning));
                (self.pending, self.answered) = (more, true);
            }
            Heard::Farewell { all_done, clock } => {
                self.world.set_clock(self.account, clock);
                if all_done {
                    self.prove_answers();
                }
                self.parted = true;
            }
        }
        Ok(())
    }

    /// What was sent up to this frame has been taken in: the station reads in order.
    fn prove(&mut self, key: u64) {
        let Some(last) = self.unproven.iter().position(|(k, _)| *k == Some(key)) else { return };
        for (_, meaning) in self.unproven.drain(..=last) {
            self.world.counters.readings.fetch_add(meaning.readings.len() as u64, Relaxed);
            self.account.acknowledged(&meaning);
        }
        self.world.heard(self.member.number, self.now);
    }

    /// Answers that nothing acknowledges by name; what has a name waits for it.
    fn prove_answers(&mut self) {
        let answers = self.unproven.iter().take_while(|(key, _)| key.is_none()).count();
        for (_, meaning) in self.unproven.drain(..answers) {
            self.account.acknowledged(&meaning);
        }
    }

    async fn send_damaged(&mut self, frame: &[u8], repair_sum: bool) -> Result<(), Lost> {
        let Some(damaged) = damage(frame, repair_sum) else { return Ok(()) };
        self.wire.send(&damaged).await?;
        if repair_sum {
            self.forgiven += 1;
        }
        self.broken(damaged, if repair_sum { "tampered" } else { "wrong sum" });
        Ok(())
    }

    fn broken(&mut self, bytes: Vec<u8>, how: &'static str) {
        self.world.counters.broken.fetch_add(1, Relaxed);
        self.account.trick(how);
        // After a cut the meter calls again at once, and its new connection may end the old one before that is read.
        let surely = !self.wire.is_datagram() && how != "cut";
        self.account.broken.push(Broken { surely, bytes, how });
    }
}

/// One bit of the body changed. `None` where the result could be taken for the start of yet another frame.
fn damage(frame: &[u8], repair_sum: bool) -> Option<Vec<u8>> {
    let mut damaged = frame.to_vec();
    let (body_end, flipped) = (frame.len().checked_sub(3)?, frame.len().checked_sub(5)?);
    *damaged.get_mut(flipped)? ^= 0x01;
    if repair_sum {
        let sum = crc16_modbus(&damaged[..body_end]).to_le_bytes();
        damaged[body_end..body_end + 2].copy_from_slice(&sum);
        return Some(damaged);
    }
    (!damaged[1..].contains(&frame[0])).then_some(damaged)
}
