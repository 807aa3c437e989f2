//! The page itself: the overview as HTML, from top to bottom.

use super::chart;
use super::fleet;
use super::html::{Html, grouped};
use super::words;
use crate::api::Overview;
use serde_json::Value;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");
/// A dial.
const MARK: &str = "<svg viewBox=\"0 0 34 34\" fill=\"none\" stroke=\"currentColor\" aria-hidden=\"true\">\
    <circle cx=\"17\" cy=\"17\" r=\"14.5\" stroke-width=\"2.5\"/>\
    <path d=\"M17 17 24.5 10.5\" stroke-width=\"2.5\" stroke-linecap=\"round\"/><circle cx=\"17\" cy=\"17\" r=\"2.6\" fill=\"currentColor\" stroke=\"none\"/>\
    <path d=\"M6.5 21.5h.01M8 11h.01M17 6.3h.01M27.5 21.5h.01\" stroke-width=\"2.2\" stroke-linecap=\"round\"/></svg>";

pub fn render(overview: &Overview, nonce: &str) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
        .raw("<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>")
        .raw("<link rel=\"icon\" href=\"data:,\">")
        .element("title", "", &format!("{} · Polymeter", overview.status.station))
        .raw(&format!("<style nonce=\"{nonce}\">{STYLE}</style></head><body><main>"));
    head(&mut html, overview);
    alerts(&mut html, overview);
    tiles(&mut html, overview);
    fleet::families(&mut html, overview);
    arrivals(&mut html, overview);
    html.raw("<div class=\"columns\">");
    latest(&mut html, overview);
    html.raw("<div class=\"stack\">");
    fleet::carriers(&mut html, overview);
    adapters(&mut html, overview);
    commands(&mut html, overview);
    quarantine(&mut html, overview);
    html.raw("</div></div>");
    foot(&mut html, overview);
    html.raw(&format!("</main><script nonce=\"{nonce}\">{SCRIPT}</script></body></html>"));
    html.finish()
}

fn head(html: &mut Html, overview: &Overview) {
    let status = &overview.status;
    html.raw("<header>")
        .raw(MARK)
        .raw("<h1>Polymeter")
        .element("span", "", &status.station)
        .raw("</h1><div class=\"end\">");
    html.element("span", "", status.local.get(11..).unwrap_or_default());
    let (tone, text) = match status.health.status {
        "ok" => ("good", "healthy 正常"),
        _ => ("bad", "failing 故障"),
    };
    html.raw(&format!("<span id=\"health\" class=\"pill {tone}\">")).text(text).raw("</span></div></header>");
}

fn alerts(html: &mut Html, overview: &Overview) {
    let health = &overview.status.health;
    for (what, why) in
        [("The journal ", &health.journal), ("The views ", &health.views), ("The machine's clock ", &health.clock)]
    {
        if let Some(why) = why {
            html.element("div", "card alert", &format!("{what}{why}"));
        }
    }
}

fn tiles(html: &mut Html, overview: &Overview) {
    let (fleet, commands) = (&overview.status.fleet, &overview.status.commands);
    let share = |part: u64| match (part, fleet.devices) {
        (0, _) | (_, 0) => String::new(),
        (part, all) if part.saturating_mul(100) < all => "under 1 % of the fleet".to_owned(),
        (part, all) => format!("{} % of the fleet", part.saturating_mul(100) / all),
    };
    let sessions = match overview.status.sessions_open {
        1 => "1 session open".to_owned(),
        some => format!("{} sessions open", grouped(some)),
    };
    let strangers = if fleet.held == 0 { "" } else { "unknown, not let in yet" };
    let unconfirmed = match commands.unconfirmed {
        0 => "all accounted for".to_owned(),
        some => format!("{} unconfirmed", grouped(some)),
    };
    let tone = |number: u64, tone: &'static str| if number == 0 { "" } else { tone };
    html.raw("<div class=\"tiles\">");
    for (label, zh, number, tone, detail) in [
        ("Devices", "设备", fleet.devices, "", sessions),
        ("Online", "在线", fleet.online, "", share(fleet.online)),
        ("Reported today", "今日上报", fleet.reported_today, "", share(fleet.reported_today)),
        ("In alarm", "报警", fleet.in_alarm, tone(fleet.in_alarm, "bad"), share(fleet.in_alarm)),
        ("Held", "待接纳", fleet.held, tone(fleet.held, "warn"), strangers.into()),
        ("Commands open", "未完命令", commands.open, tone(commands.unconfirmed, "warn"), unconfirmed),
    ] {
        html.raw(&format!("<div class=\"card tile {tone}\"><div class=\"label\">")).element("span", "", label);
        html.element("span", "zh", zh).raw("</div>").element("div", "number", &grouped(number));
        html.element("div", "detail", &detail).raw("</div>");
    }
    html.raw("</div>");
}

fn arrivals(html: &mut Html, overview: &Overview) {
    let total: u64 = overview.arrivals.iter().map(|m| m.frames).sum();
    html.raw("<section class=\"card\">");
    html.raw("<h2>Arrivals per minute").element("span", "zh", "每分钟到达").raw("<span class=\"aside\">");
    html.text(&format!("{} frames in the last hour", grouped(total)));
    html.raw("<span class=\"key\">read</span><span class=\"key faulty\">faulty</span></span></h2>");
    chart::draw(html, &overview.arrivals);
    html.raw("</section>");
}

pub(super) fn title(html: &mut Html, text: &str, zh: &str, aside: &str) {
    html.raw("<section class=\"card\"><h2>").text(text).raw(" ").element("span", "zh", zh);
    html.element("span", "aside", aside).raw("</h2>");
}

pub(super) fn pill(html: &mut Html, tone: &str, text: &str, zh: &str) {
    html.element("span", &format!("pill {tone}"), format!("{text} {zh}").trim_end());
}

fn latest(html: &mut Html, overview: &Overview) {
    title(html, "Latest readings", "最新读数", "");
    if overview.latest.is_empty() {
        html.element("div", "empty", "No report has come yet. 暂无上报").raw("</section>");
        return;
    }
    html.raw("<table><thead><tr><th class=\"fit wide\">Received</th><th>Device</th><th class=\"fit wide\">Report</th>");
    html.raw(
        "<th class=\"wide\">Reading</th><th class=\"value\"></th><th class=\"fit\">Valve</th></tr></thead><tbody>",
    );
    for report in &overview.latest {
        html.raw("<tr>").element("td", "fit dim wide", report.received_local.get(11..).unwrap_or_default());
        html.raw("<td>").element("code", "", &report.device);
        if !report.alarms.is_empty() {
            html.raw("<div class=\"pills\">");
            report.alarms.iter().for_each(|alarm| pill(html, "bad", &words::plain(alarm), words::alarm(alarm)));
            html.raw("</div>");
        }
        let (cause, zh) = words::cause(report.cause);
        html.raw("</td><td class=\"fit wide\">").text(cause).raw(" ").element("span", "zh", zh).raw("</td>");
        reading(html, &report.registers, report.values);
        html.raw("<td class=\"fit\">");
        if let Some(state) = report.valve.as_ref().and_then(|v| v.get("state")).and_then(Value::as_str) {
            let (text, zh, tone) = words::valve(state);
            pill(html, tone, text, zh);
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></section>");
}

/// The most telling value, what it is, and how many more there are.
fn reading(html: &mut Html, registers: &[Value], values: u64) {
    let word = |register: &Value, key: &str| register.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let told = |quantity| registers.iter().find(|r| word(r, "quantity") == quantity);
    let Some(register) = words::TELLING.into_iter().find_map(told).or(registers.first()) else {
        html.raw("<td class=\"wide\"></td><td class=\"value faint\">");
        html.text(&format!("{} stored values", grouped(values))).raw("</td>");
        return;
    };
    let quantity = word(register, "quantity");
    let (name, zh) = words::quantity(&quantity);
    html.raw("<td class=\"wide dim\">").text(&words::plain(name)).raw(" ").element("span", "zh", zh);
    if values > 1 {
        html.raw(" ").element("span", "faint", &format!("+{}", grouped(values - 1)));
    }
    html.raw("</td><td class=\"value\">").element("b", "", &word(register, "value")).raw(" ");
    html.element("span", "unit", words::unit(&word(register, "unit"))).raw("</td>");
}

fn adapters(html: &mut Html, overview: &Overview) {
    title(html, "Adapters", "适配器", "today");
    if overview.adapters.is_empty() {
        html.element("div", "empty", "None yet: put one into the adapter directory. 暂无适配器");
    }
    html.raw("<div class=\"list\">");
    for adapter in &overview.adapters {
        html.raw("<div class=\"item\"><div class=\"head\">").element("b", "", &adapter.name);
        html.element("span", "dim", &adapter.version);
        html.element("code", "faint", adapter.short_digest.get(..8).unwrap_or_default());
        pill(html, words::tone(adapter.state), adapter.state, words::state(adapter.state));
        html.raw("</div>");
        if let Some(day) = overview.today.iter().find(|d| adapter.state == "active" && d.adapter == adapter.name) {
            let counts =
                [(day.frames, "frames"), (day.reports, "reports"), (day.answers, "answers"), (day.faults, "faulty")];
            let told = counts.iter().filter(|(count, _)| *count > 0);
            let told: Vec<String> = told.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
            html.element("div", "why", &told.join(", "));
        }
        if adapter.state != "active" && !adapter.reason.is_empty() {
            html.element("div", "why", &adapter.reason);
        }
        html.raw("</div>");
    }
    html.raw("</div></section>");
}

fn commands(html: &mut Html, overview: &Overview) {
    let more = overview.status.commands.open.saturating_sub(overview.commands.len() as u64);
    let aside = if more > 0 { format!("and {} older", grouped(more)) } else { String::new() };
    title(html, "Open commands", "未完命令", &aside);
    if overview.commands.is_empty() {
        html.element("div", "empty", "Nothing waits. 无等待命令");
    }
    html.raw("<div class=\"list\">");
    for command in &overview.commands {
        html.raw("<div class=\"item\"><div class=\"head\">").element("b", "", &command.name);
        html.element("code", "dim", &command.device);
        pill(html, words::tone(command.state), command.state, words::state(command.state));
        html.raw("</div>");
        if !command.why.is_empty() {
            html.element("div", "why", &command.why);
        }
        html.raw("</div>");
    }
    html.raw("</div></section>");
}

fn quarantine(html: &mut Html, overview: &Overview) {
    if overview.quarantine.is_empty() {
        return;
    }
    title(html, "Quarantine", "隔离帧", "kept until an adapter reads them");
    html.raw("<table><tbody>");
    for kept in &overview.quarantine {
        let adapter = if kept.adapter.is_empty() { "no adapter" } else { &kept.adapter };
        html.raw("<tr>").element("td", "", adapter).element("td", "dim", &kept.fault);
        html.element("td", "value", &grouped(kept.frames)).raw("</tr>");
    }
    html.raw("</tbody></table></section>");
}

fn foot(html: &mut Html, overview: &Overview) {
    let status = &overview.status;
    html.raw("<footer>");
    for text in [
        format!("Polymeter {}", status.version),
        format!("journal at entry {}", grouped(status.journal.last_seq)),
        format!("views {} behind", grouped(status.views.lag)),
        format!("{} frames in quarantine", grouped(status.quarantined)),
    ] {
        html.element("span", "", &text);
    }
    html.raw("</footer>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        AdapterDay, AdapterRow, Behind, CarrierRow, CommandCounts, CommandRow, FamilyRow, Fleet, Health, JournalLag,
        LatestReport, Minute, Quarantined, StationStatus, ViewsLag,
    };
    use serde_json::json;

    const HOSTILE: &str = "<script>alert('x')</script>";

    /// A busy station; every text that a device or a vendor can write is hostile.
    fn sample() -> Overview {
        let minute = |m: u64| Minute {
            at: String::new(),
            local: format!("{:02}:{:02}", 18 + m / 60, m % 60),
            frames: (m * 37) % 91 + 300 * u64::from(m == 30),
            reports: 0,
            faults: u64::from(m.is_multiple_of(7)),
        };
        Overview {
            status: StationStatus {
                station: "north".into(),
                version: "0.1.0",
                now: "2024-03-15T10:25:31.042Z".into(),
                local: "2024-03-15T18:25:31".into(),
                health: Health {
                    status: "ok",
                    journal: None,
                    views: Some(HOSTILE.into()),
                    clock: None,
                    trust: None,
                    brokers: Vec::new(),
                    idle_listeners: Vec::new(),
                    out_of_service: Vec::new(),
                },
                fleet: Fleet { devices: 12_480, online: 318, reported_today: 11_902, held: 2, in_alarm: 7 },
                commands: CommandCounts { open: 18, unconfirmed: 1 },
                quarantined: 9,
                sessions_open: 321,
                listeners: vec!["nb".into()],
                journal: JournalLag { last_seq: 1_284_113, queued: 0 },
                views: ViewsLag { cursor: 1_284_110, lag: 3 },
                adapters_active: 2,
            },
            arrivals: (0..60).map(minute).collect(),
            latest: (0..15).map(report).collect(),
            adapters: vec![adapter("usp", "active", ""), adapter("qianwei_7xxx", "rejected", HOSTILE)],
            families: vec![family("usp", "meter", 11_800), family("usp", "concentrator", 3)],
            carriers: vec![CarrierRow {
                device: "usp/50009900000001".into(),
                kind: "concentrator",
                online: true,
                last_seen: None,
                last_seen_local: Some("2024-03-15T18:25:30".into()),
                behind: vec![
                    Behind { realm: "cjt188".into(), devices: 1_204 },
                    Behind { realm: "mbus".into(), devices: 6 },
                ],
                unheard: 2,
                more: false,
            }],
            today: vec![AdapterDay { adapter: "usp".into(), frames: 24_113, reports: 11_871, answers: 0, faults: 4 }],
            commands: vec![command("valve", "unconfirmed"), command("read-history", "queued")],
            quarantine: vec![Quarantined { adapter: "usp".into(), fault: "not-authentic".into(), frames: 7 }],
        }
    }

    fn report(place: u64) -> LatestReport {
        let volume =
            json!({"quantity": "standard-volume", "value": format!("{}.37", 1204 + place), "unit": "cubic-metre"});
        LatestReport {
            seq: 7,
            device: if place == 3 { HOSTILE.into() } else { format!("usp/{}", 50_001_234_567_810 + place) },
            received: String::new(),
            received_local: format!("2024-03-15T18:25:{:02}", 30 - place),
            cause: if place.is_multiple_of(3) { "daily" } else { "dekad" },
            at: None,
            registers: vec![volume; (1 + place % 2) as usize],
            values: 1 + (place % 2) * 9,
            valve: (place % 4 != 1).then(|| json!({"state": if place == 6 { "closed-forced" } else { "open" }})),
            alarms: if place == 2 { vec!["battery-low".into(), HOSTILE.into()] } else { vec![] },
        }
    }

    fn family(adapter: &str, kind: &'static str, devices: u64) -> FamilyRow {
        FamilyRow {
            adapter: adapter.into(),
            kind,
            summary: HOSTILE.into(),
            devices,
            reports_today: devices * 2,
            closed: 41,
            in_alarm: 7,
            last_seen: None,
            last_seen_local: Some("2024-03-15T18:25:30".into()),
        }
    }

    fn adapter(name: &str, state: &'static str, reason: &str) -> AdapterRow {
        AdapterRow {
            file: format!("{name}.wasm"),
            name: name.into(),
            version: "1.0.0".into(),
            release: 0,
            digest: "9f2c41d07a5b".repeat(5),
            short_digest: "9f2c41d07a5b".into(),
            state,
            reason: reason.into(),
            since: String::new(),
            by: String::new(),
            served: None,
            about: None,
        }
    }

    fn command(name: &str, state: &'static str) -> CommandRow {
        CommandRow {
            id: 7,
            device: "usp/50001234567812".into(),
            name: name.into(),
            command: Value::Null,
            state,
            finished: false,
            by: "ops".into(),
            note: String::new(),
            requested: String::new(),
            expires: String::new(),
            attempts: 1,
            outcome: None,
            why: if state == "unconfirmed" { "no answer came; the next report decides".into() } else { String::new() },
            settled: None,
            result: None,
        }
    }

    #[test]
    fn what_others_wrote_stays_text_and_everything_is_shown() {
        let html = render(&sample(), "00");
        assert!(!html.contains(HOSTILE));
        // The empty end tag of the page's own script and style, and nothing more.
        assert_eq!(html.matches("<script").count(), 1);
        for expected in [
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
            "12\u{202f}480",
            "95 % of the fleet",
            "usp/50001234567810",
            "1204.37</b> <span class=\"unit\">m³",
            "forced shut 强制关",
            "concentrators",
            "1\u{202f}204 cjt188, 6 mbus",
            "2 never heard",
            "battery low 主电欠压",
            "qianwei_7xxx",
            "1 unconfirmed",
            "not-authentic",
            "<title>18:30 · 318 frames",
        ] {
            assert!(html.contains(expected), "{expected} is missing");
        }
    }

    #[test]
    fn an_empty_station_has_a_page_too() {
        let mut overview = sample();
        overview.latest.clear();
        overview.adapters.clear();
        overview.arrivals.clear();
        overview.status.fleet.devices = 0;
        let html = render(&overview, "00");
        assert!(html.contains("No report has come yet"));
    }
}
