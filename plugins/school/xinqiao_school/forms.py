"""The weekly check of a class as one page that works without a network: filled in, saved, dropped into the inbox.

It asks for counts and never for a name: what was found is told with the observations, or by telephone.
"""

import hashlib
import html
import re

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao_school.feed_columns import COLUMNS
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.wire import write_whole

FOLDER = "forms"
_PLAIN = re.compile(r"[^\w-]+")


def lay_out(settings: SchoolSettings) -> None:
    """Put the form of each configured class into the outbox, if it is not there as it should be.

    Raises PartnerUnavailable when the outbox cannot be written.
    """
    try:
        for unit in settings.form_classes:
            path = settings.outbox / FOLDER / form_name(unit)
            page = form(unit).encode()
            if not path.is_file() or path.read_bytes() != page:
                path.parent.mkdir(exist_ok=True)
                write_whole(path, page)
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None


def form_name(unit: str) -> str:
    """A file name for the class; the digest keeps apart what the plain name does not."""
    return f"{_PLAIN.sub('-', unit)[:40]}-{hashlib.sha256(unit.encode()).hexdigest()[:6]}.html"


def form(unit: str) -> str:
    """The page for one class. The same class gives the same bytes."""
    header = ",".join(names[0] for names in COLUMNS["sweep"].values())
    return _PAGE.replace("@UNIT@", html.escape(unit, quote=True)).replace("@HEADER@", header)


_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>班级每周排查 Weekly check of a class</title>
<style>
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:1.5em auto;padding:0 1em;color:#1b2733}
h1{font-size:1.3em;margin:0}label{display:block;margin:1em 0 .2em}small{color:#566}
input[type=number],input[type=text]{font:inherit;width:100%;padding:.5em;border:1px solid #889;border-radius:6px}
button{font:inherit;margin:1.2em 0;padding:.6em 1.4em;border:0;border-radius:6px;background:#1f5fa8;color:#fff}
output{display:block;min-height:3em;font-weight:600}.urgent{border-left:4px solid #b3261e;padding-left:.8em}
</style></head><body>
<h1>班级每周排查 <small>Weekly check of a class</small></h1>
<p><b id="unit">@UNIT@</b></p>
<p class="urgent">发现危机情形请立即打电话，不要等本表。<br>
<small>In a crisis telephone at once; this form is not for it.</small></p>
<form id="form" novalidate autocomplete="off">
<label for="period">周期 <small>Period</small></label><input type="text" id="period" maxlength="40">
<label for="seen">排查人数 <small>Students seen</small></label><input type="number" id="seen" min="0" max="1000" step="1">
<label for="concerns">关注人数 <small>Of these, concerns</small></label>
<input type="number" id="concerns" min="0" max="1000" step="1">
<label><input type="checkbox" id="nil"> 本周无异常（零报告）<small>Nothing found this week</small></label>
<p><small>请勿填写任何姓名。 Write no names.</small></p>
<button type="submit">保存文件 Save the file</button><output id="told" role="status"></output>
</form>
<script>
"use strict";
const at = id => document.getElementById(id), whole = text => /^[0-9]{1,4}$/.test(text) ? Number(text) : -1;
function isoWeek(day) {
  const d = new Date(Date.UTC(day.getFullYear(), day.getMonth(), day.getDate()));
  d.setUTCDate(d.getUTCDate() + 4 - (d.getUTCDay() || 7));
  const first = new Date(Date.UTC(d.getUTCFullYear(), 0, 1));
  const week = Math.ceil(((d - first) / 864e5 + 1) / 7);
  return d.getUTCFullYear() + "-W" + String(week).padStart(2, "0");
}
function cell(text) { return '"' + String(text).replaceAll('"', '""') + '"'; }
function wrong(period, seen, concerns, nil) {
  if (!/^[0-9A-Za-z][0-9A-Za-z_\\/-]{0,39}$/.test(period)) return "周期格式如 2026-W42。 Write the period as 2026-W42.";
  if (seen < 0 || seen > 1000) return "请填写排查人数。 Fill in the students seen.";
  if (concerns < 0 || concerns > seen) return "关注人数须在 0 与排查人数之间。 Concerns are from 0 to the students seen.";
  if (nil !== (concerns === 0)) return "无异常须勾选，有关注则不勾选。 Tick the box if there is nothing, and only then.";
  return "";
}
at("period").value = isoWeek(new Date());
at("form").addEventListener("submit", event => {
  event.preventDefault();
  const period = at("period").value.trim(), seen = whole(at("seen").value), concerns = whole(at("concerns").value);
  const nil = at("nil").checked, problem = wrong(period, seen, concerns, nil);
  at("told").textContent = problem;
  if (problem) return;
  const row = [cell(at("unit").textContent), cell(period), seen, concerns, nil ? "是" : "否"].join(",");
  const mark = Array.from(crypto.getRandomValues(new Uint8Array(4)), b => b.toString(16).padStart(2, "0")).join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["@HEADER@\\r\\n" + row + "\\r\\n"], {type: "text/csv"}));
  link.download = "sweep-" + period.replace(/[^0-9A-Za-z-]/g, "-") + "-" + mark + ".csv";
  link.click();
  at("told").textContent = "已保存 " + link.download + "，请放入收件文件夹。 Saved; put it into the inbox.";
});
</script></body></html>
"""
