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
        "signal-csq" | "signal-rssi" | "signal-rsrp" => ("signal", "信号"),
        "flow-temperature" => ("supply temperature", "供水温度"),
        "return-temperature" => ("return temperature", "回水温度"),
        "remaining-volume" => ("remaining volume", "剩余气量"),
        "purchased-money" => ("purchased", "累计购气金额"),
        "purchased-volume" => ("purchased volume", "累计购气量"),
        "price" => ("price", "单价"),
        other => (other, ""),
    }
}

/// Devices of a kind.
pub fn kinds(name: &str) -> (&str, &str) {
    match name {
        "meter" => ("meters", "表具"),
        "concentrator" => ("concentrators", "集中器"),
        "dtu" => ("DTUs", "DTU"),
        other => (other, ""),
    }
}

/// An alarm in Chinese, as the registry of codes has it; empty for codes of a vendor's own.
pub fn alarm(code: &str) -> &'static str {
    match code {
        "valve-fault" => "阀门故障",
        "valve-passing" => "直通（关阀漏气）",
        "battery-low" => "主电欠压",
        "battery-exhausted" => "主电耗尽",
        "backup-battery-low" => "备电欠压",
        "backup-battery-exhausted" => "备电耗尽",
        "mains-lost" => "外电掉电",
        "strong-magnet" => "强磁干扰",
        "hall-sensor-magnet" => "霍尔磁干扰",
        "cover-open" => "开盖",
        "communication-cover-open" => "通讯部分壳体打开",
        "base-cover-open" => "基础部分壳体打开",
        "battery-cover-open" => "电池仓打开",
        "tilt" => "倾斜",
        "removal" => "拆表",
        "tilt-or-removal" => "倾斜拆表",
        "reverse-installation" => "反向安装",
        "gas-leak" => "燃气泄漏",
        "overflow" => "过流",
        "small-flow" => "异常小流量",
        "continuous-flow" => "持续流量",
        "constant-flow" => "恒流",
        "reverse-flow" => "反向流",
        "reverse-connection" => "反向接气",
        "pressure-high" => "压力高",
        "pressure-low" => "压力低",
        "pressure-abnormal" => "压力异常",
        "temperature-high" => "温度高",
        "temperature-low" => "温度低",
        "temperature-abnormal" => "温度异常",
        "metering-fault" => "计量故障",
        "reading-absent" => "读数缺失",
        "sampling-failed" => "采样失败",
        "sensor-fault" => "传感器故障",
        "storage-fault" => "存储故障",
        "clock-fault" => "时钟故障",
        "external-clock-fault" => "外部时钟故障",
        "device-fault" => "设备故障",
        "application-busy" => "应用忙",
        "application-error" => "应用错误",
        "abnormal-condition" => "异常状态",
        "communication-lost" => "失联",
        "no-answer-behind" => "子表离线",
        "balance-low" => "余额不足（一级）",
        "balance-low-2" => "余额不足（二级）",
        "balance-exhausted" => "余额用尽",
        "overdraft-limit" => "透支超限",
        "earthquake" => "地震",
        "long-unused" => "长期未用",
        "cable-cut" => "剪线",
        "abnormal-close" => "异常关阀",
        _ => "",
    }
}

/// A code of the contract as people read it.
pub fn plain(code: &str) -> String {
    code.replace('-', " ")
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
