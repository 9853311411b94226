/* A scanner that checks a JSON document and picks one text out of its top level; no tree is built. */
#ifndef JSON_H
#define JSON_H

#include "wasmill.h"

#include <string.h>

enum { JSON_DEPTH = 128 };

/* What is left of the document. `text` is where the string read last goes, at most as long as the document. */
struct json {
    const char *at;
    const char *end;
    char *text;
    size_t length;
};

static bool json_value(struct json *json, int depth);

static void json_space(struct json *json) {
    while (json->at < json->end && memchr(" \t\n\r", *json->at, 4) != NULL) json->at++;
}

static bool json_token(struct json *json, char token) {
    json_space(json);
    if (json->at == json->end || *json->at != token) return false;
    json->at++;
    return true;
}

static bool json_word(struct json *json, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0) return false;
    json->at += length;
    return true;
}

static bool json_digits(struct json *json) {
    const char *first = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') json->at++;
    return json->at > first;
}

static bool json_number(struct json *json) {
    json_word(json, "-");
    if (!json_word(json, "0") && !json_digits(json)) return false;
    if (json_word(json, ".") && !json_digits(json)) return false;
    if (json_word(json, "e") || json_word(json, "E")) {
        if (!json_word(json, "+")) json_word(json, "-");
        return json_digits(json);
    }
    return true;
}

static bool json_hex(struct json *json, uint32_t *unit) {
    *unit = 0;
    if (json->end - json->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF";
        const char *digit = (const char *)memchr(digits, *json->at++, 32);
        if (digit == NULL) return false;
        *unit = *unit << 4 | (uint32_t)((digit - digits) & 15);
    }
    return true;
}

static void json_put(struct json *json, uint32_t byte) {
    json->text[json->length++] = (char)byte;
}

/* A character behind `\u`, as UTF-8; two such for one past U+FFFF. */
static bool json_unicode(struct json *json) {
    uint32_t character, low;
    if (!json_hex(json, &character) || (character >= 0xdc00 && character <= 0xdfff)) return false;
    if (character >= 0xd800 && character <= 0xdbff) {
        if (!json_word(json, "\\u") || !json_hex(json, &low) || low < 0xdc00 || low > 0xdfff) return false;
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    }
    if (character < 0x80) {
        json_put(json, character);
        return true;
    }
    int more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    json_put(json, (0xff00u >> (more + 1) & 0xff) | character >> (6 * more));
    while (more-- > 0) json_put(json, 0x80 | (character >> (6 * more) & 0x3f));
    return true;
}

static bool json_string(struct json *json) {
    json->length = 0;
    if (!json_token(json, '"')) return false;
    while (json->at < json->end) {
        char byte = *json->at++;
        if (byte == '"') return true;
        if ((unsigned char)byte < 0x20) return false;
        if (byte != '\\') {
            json_put(json, (unsigned char)byte);
            continue;
        }
        if (json->at == json->end) return false;
        const char *names = "\"\\/bfnrt", *name = (const char *)memchr(names, *json->at++, 8);
        if (name != NULL) {
            json_put(json, (unsigned char)"\"\\/\b\f\n\r\t"[name - names]);
        } else if (json->at[-1] != 'u' || !json_unicode(json)) {
            return false;
        }
    }
    return false;
}

static bool json_array(struct json *json, int depth) {
    if (json_token(json, ']')) return true;
    do {
        if (!json_value(json, depth)) return false;
    } while (json_token(json, ','));
    return json_token(json, ']');
}

/* `name` and `found`: the member to pick, and where to; or both NULL. The last of that name counts. */
static bool json_object(struct json *json, int depth, const char *name, wasmill_bytes *found) {
    if (json_token(json, '}')) return true;
    do {
        if (!json_string(json)) return false;
        bool wanted = name != NULL && json->length == strlen(name) && memcmp(json->text, name, json->length) == 0;
        if (!json_token(json, ':')) return false;
        json_space(json);
        bool text = json->at < json->end && *json->at == '"';
        if (!json_value(json, depth)) return false;
        if (wanted) {
            found->data = text ? (char *)memcpy(wasmill_alloc(json->length), json->text, json->length) : NULL;
            found->length = text ? json->length : 0;
        }
    } while (json_token(json, ','));
    return json_token(json, '}');
}

static bool json_value(struct json *json, int depth) {
    if (depth >= JSON_DEPTH) return false;
    if (json_token(json, '{')) return json_object(json, depth + 1, NULL, NULL);
    if (json_token(json, '[')) return json_array(json, depth + 1);
    if (json->at < json->end && *json->at == '"') return json_string(json);
    return json_word(json, "true") || json_word(json, "false") || json_word(json, "null") || json_number(json);
}

/* The text of a member of the object that the document is; absent if it is none, or has no such text. */
static wasmill_bytes json_text(wasmill_bytes document, const char *name) {
    wasmill_bytes absent = {NULL, 0}, found = {NULL, 0};
    if (document.data == NULL || wasmill_utf8_length(document) != document.length) return absent;
    struct json json = {document.data, document.data + document.length, (char *)wasmill_alloc(document.length), 0};
    if (!json_token(&json, '{') || !json_object(&json, 1, name, &found)) return absent;
    json_space(&json);
    return json.at == json.end ? found : absent;
}

#endif
