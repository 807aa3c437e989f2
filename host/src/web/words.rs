//! Labels of the page, English and Chinese, and short signs for units and quantities.

/// The sign of a unit, by the contract's name; unknown ones show their name.
pub fn unit(name: &str) -> &str {
    match name {
        "none" => "",
        "cubic-metre" => "m³",
        "litre" => "L",
        "cubic-metre-per-hour" => "m³/h",
        "litre-per-hour" => "L/h",
        "kilogram" => "kg",
        "watt-hour" => "Wh",
        "joule" => "J",
        "watt" => "W",
        "degree-celsius" => "℃",
        "kelvin" => "K",
        "pascal" => "Pa",
        "bar" => "bar",
        "volt" => "V",
        "ampere" => "A",
        "hertz" => "Hz",
        "percent" => "%",
        "yuan" => "元",
        "yuan-per-cubic-metre" => "元/m³",
        "second" => "s",
        "minute" => "min",
        "hour" => "h",
        "day" => "d",
        "decibel" => "dB",
        "decibel-milliwatt" => "dBm",
        "civil-second" => "",
        other => other,
    }
}

/// What a report is best known by, the most telling first.
pub const TELLING: [&str; 5] = ["standard-volume", "working-volume", "volume", "energy", "balance"];

/// A quantity for people, by the contract's name.
pub fn quantity(name: &str) -> (&str, &str) {
    match name {
        "standard-volume" => ("standard volume", "标况总量"),
        "working-volume" => ("working volume", "工况总量"),
        "volume" => ("volume", "总量"),
        "energy" => ("energy", "能量"),
        "mass" => ("mass", "质量"),
        "working-flow" => ("working flow", "工况流量"),
        "standard-flow" => ("standard flow", "标况流量"),
        "volume-flow" => ("flow", "流量"),
        "temperature" => ("temperature", "温度"),
        "pressure" => ("pressure", "压力"),
        "balance" => ("balance", "余额"),
        "battery-voltage" => ("battery", "电池电压"),
        "battery-level" => ("battery", "电量"),
        other => (other, ""),
    }
}

/// A report's cause.
pub fn cause(name: &str) -> (&str, &str) {
    match name {
        "daily" => ("daily", "日报"),
        "dekad" => ("dekad", "旬报"),
        "monthly" => ("monthly", "月报"),
        "hourly" => ("hourly", "时报"),
        "interval" => ("interval", "间隔"),
        "on-demand" => ("on demand", "召测"),
        "manual" => ("manual", "手动"),
        "alarm" => ("alarm", "报警"),
        "other" => ("other", "其他"),
        other => (other, ""),
    }
}

/// A valve's state, and how it looks.
pub fn valve(name: &str) -> (&str, &str, &'static str) {
    match name {
        "open" => ("open", "开", "good"),
        "open-permitted" => ("open permitted", "允许开阀", "good"),
        "closed" => ("closed", "关", "calm"),
        "closed-temporary" => ("closed", "临时关", "calm"),
        "closed-forced" => ("forced shut", "强制关", "warn"),
        "moving" => ("moving", "动作中", "calm"),
        "fault" => ("fault", "故障", "bad"),
        "absent" => ("none", "无阀", "calm"),
        other => (other, "", "calm"),
    }
}

/// How a state of an adapter or a command looks.
pub fn tone(state: &str) -> &'static str {
    match state {
        "active" | "done" | "ok" => "good",
        "unconfirmed" | "quarantined" => "warn",
        "rejected" | "failed" | "failing" => "bad",
        _ => "calm",
    }
}

/// A state in Chinese.
pub fn state(name: &str) -> &'static str {
    match name {
        "active" => "运行",
        "standby" => "备用",
        "rejected" => "拒绝",
        "conformed" => "就绪",
        "shadow" => "影子",
        "draining" => "排空",
        "quarantined" => "隔离",
        "queued" => "等待",
        "sent" => "已发送",
        "unconfirmed" => "未确认",
        _ => "",
    }
}
