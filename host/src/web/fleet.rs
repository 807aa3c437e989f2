//! The fleet by families, a family being what one adapter reads of one kind of device; and carriers with those behind them.

use super::html::{Html, grouped};
use super::page::{pill, title};
use super::words;
use crate::api::{CarrierRow, FamilyRow, Overview};

/// One row a family.
pub fn families(html: &mut Html, overview: &Overview) {
    let count = match overview.families.len() {
        0 => String::new(),
        1 => "1 family".to_owned(),
        some => format!("{some} families"),
    };
    title(html, "Device families", "设备家族", &count);
    if overview.families.is_empty() {
        html.element("div", "empty", "No device has been heard yet. 暂无设备").raw("</section>");
        return;
    }
    html.raw("<table class=\"families\"><thead><tr><th>What they are</th><th class=\"value\">Devices</th>");
    html.raw("<th class=\"value\">Reports<span class=\"wide\"> today</span></th>");
    html.raw("<th class=\"value\"><span class=\"wide\">Valves </span>shut</th>");
    html.raw("<th class=\"value\"><span class=\"wide\">In </span>alarm</th><th class=\"value wide\">Last heard</th></tr></thead><tbody>");
    for family in &overview.families {
        row(html, family);
    }
    html.raw("</tbody></table></section>");
}

fn row(html: &mut Html, family: &FamilyRow) {
    let (kinds, zh) = words::kinds(family.kind);
    html.raw("<tr><td><div class=\"name\">").element("b", "", &family.adapter).raw(" ").text(kinds).raw(" ");
    html.element("span", "zh", zh).raw("</div>").element("div", "why wide", &family.summary).raw("</td>");
    html.raw("<td class=\"value\">").element("b", "", &grouped(family.devices)).raw("</td>");
    for (number, tone) in [(family.reports_today, ""), (family.closed, "warn"), (family.in_alarm, "bad")] {
        html.raw("<td class=\"value\">");
        match number {
            0 => html.element("span", "faint", "–"),
            some if tone.is_empty() => html.text(&grouped(some)),
            some => html.element("span", &format!("pill {tone}"), &grouped(some)),
        };
        html.raw("</td>");
    }
    html.element("td", "value wide dim", clock(family.last_seen_local.as_deref())).raw("</tr>");
}

/// One item a concentrator or DTU; nothing where there are none.
pub fn carriers(html: &mut Html, overview: &Overview) {
    if overview.carriers.is_empty() {
        return;
    }
    title(html, "Concentrators", "集中器", "and the meters behind them");
    html.raw("<div class=\"list\">");
    for carrier in &overview.carriers {
        html.raw("<div class=\"item\"><div class=\"head\">").element("code", "", &carrier.device);
        let (tone, text, zh) =
            if carrier.online { ("good", "online", "在线") } else { ("warn", "offline", "离线") };
        pill(html, tone, text, zh);
        html.raw("</div>").element("div", "why", &behind(carrier)).raw("</div>");
    }
    html.raw("</div></section>");
}

/// Who stands behind it, in words.
fn behind(carrier: &CarrierRow) -> String {
    let makes: Vec<String> =
        carrier.behind.iter().map(|behind| format!("{} {}", grouped(behind.devices), behind.realm)).collect();
    let mut text = if makes.is_empty() { "no meter registered behind it".to_owned() } else { makes.join(", ") };
    if carrier.more {
        text.push_str(" or more");
    }
    if carrier.unheard > 0 {
        text += &[" · ", &grouped(carrier.unheard), " never heard"].concat();
    }
    text += &[" · last heard ", clock(carrier.last_seen_local.as_deref())].concat();
    text
}

/// Time of the day.
fn clock(local: Option<&str>) -> &str {
    local.and_then(|at| at.get(11..)).unwrap_or("never")
}
