"""Sentences in the encodings that they are found in."""

from __future__ import annotations

GERMAN = "Der Wärter prüft täglich die große Schleuse und öffnet früh das Tor für die Schiffe.\n"
FRENCH = "L'éclusier vérifie chaque matin la pression à l'entrée où la grille a été réparée.\n"
RUSSIAN = "Смотритель шлюза проверяет уплотнение северных ворот каждые семь дней.\n"
POLISH = "Strażnik śluzy sprawdza uszczelkę północnej bramy i zapisuje w księdze ciśnienie.\n"
GREEK = "Ο φύλακας ελέγχει τη φλάντζα της βόρειας πύλης κάθε επτά ημέρες.\n"
JAPANESE = "水門の番人は七日ごとに北門の密封材を点検し、圧力を記録簿に書き込みます。\n"
CHINESE = "水闸管理员每七天检查一次北门的密封，并把压力写进记录簿。\n"
TAIWANESE = "水閘管理員每七天檢查一次北門的密封，並把壓力寫進記錄簿。\n"
KOREAN = "수문 관리인은 칠 일마다 북문의 밀봉을 점검하고 압력을 기록부에 적습니다.\n"
HEBREW = "שומר הסכר בודק את אטם השער הצפוני כל שבעה ימים ורושם את הלחץ בספר.\n"
ENCODINGS = {
    "utf-8": RUSSIAN, "utf-8-sig": GERMAN, "utf-16": GERMAN, "utf-16-le": RUSSIAN,
    "utf-16-be": CHINESE, "utf-32": RUSSIAN, "utf-32-le": GERMAN, "utf-32-be": CHINESE,
    "latin-1": GERMAN, "cp1252": FRENCH, "mac_roman": FRENCH, "cp850": GERMAN,
    "cp1250": POLISH, "iso8859_2": POLISH, "cp1251": RUSSIAN, "koi8_r": RUSSIAN,
    "cp866": RUSSIAN, "cp1253": GREEK, "cp1255": HEBREW, "shift_jis": JAPANESE,
    "euc_jp": JAPANESE, "iso2022_jp": JAPANESE, "gb18030": CHINESE, "big5": TAIWANESE,
    "euc_kr": KOREAN,
}


def odd(text: str, encoding: str) -> bytes:
    """Six lines with a byte between them that the encoding does not have."""
    data = text.encode(encoding)
    first = (text * 3).encode(encoding)
    rest = (text * 3).encode(encoding.removesuffix("-sig")
                             + ("-le" if encoding in ("utf-16", "utf-32") else ""))
    wide = {"16": "\ud800", "32": "\ud800"}.get(encoding[4:6])
    stray = b"\xff" if wide is None else wide.encode(
        encoding if encoding[-2:] in ("le", "be") else f"{encoding}-le", "surrogatepass")
    return first + stray + rest if data else b""
