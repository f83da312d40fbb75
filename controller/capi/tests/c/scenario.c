// Runs a recorded scenario through the C interface and writes what the node sends.
//
//     scenario POLICY SCRIPT OUTPUT
//
// SCRIPT: steps of { local_us u32, length u16, bytes }, all little-endian: the bytes are fed, then
// the node is polled. OUTPUT: what was taken after each step, as { length u16, bytes }.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coshift.h"

static _Alignas(COSHIFT_NODE_ALIGN) unsigned char memory[COSHIFT_NODE_SIZE];
static uint8_t policy[65536];
static uint8_t script[4 << 20];

static void check(coshift_status status, const char *what)
{
    if (status != COSHIFT_STATUS_OK) {
        fprintf(stderr, "%s: status %d\n", what, (int)status);
        exit(1);
    }
}

static size_t load(const char *path, uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    size_t length = fread(bytes, 1, size, file);
    if (length == size || fclose(file) != 0) {
        fprintf(stderr, "%s is too long, or cannot be read\n", path);
        exit(1);
    }
    return length;
}

static void step(coshift_node *node, uint32_t now, const uint8_t *bytes, size_t length, FILE *out)
{
    static uint8_t sent[2048];
    check(coshift_node_feed(node, bytes, length, now), "feed");
    // A decision takes a few slices, one a poll.
    uint32_t wait = 0;
    for (int slices = 0; wait == 0 && slices < 16; slices++) {
        check(coshift_node_poll(node, now), "poll");
        check(coshift_node_wait_us(node, now, &wait), "wait");
    }
    if (wait == 0) {
        fprintf(stderr, "still due after 16 polls\n");
        exit(1);
    }
    // In two pieces, as a UART with a small queue would take them.
    size_t first = 0, second = 0;
    check(coshift_node_take(node, sent, 7, &first), "take");
    check(coshift_node_take(node, sent + first, sizeof sent - first, &second), "take");
    size_t taken = first + second;
    uint8_t head[2] = {(uint8_t)taken, (uint8_t)(taken >> 8)};
    if (fwrite(head, 1, 2, out) != 2 || fwrite(sent, 1, taken, out) != taken) {
        fprintf(stderr, "cannot write the output\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: scenario POLICY SCRIPT OUTPUT\n");
        return 2;
    }
    if (coshift_api_version() != COSHIFT_API_VERSION) {
        fprintf(stderr, "library and header are of different versions\n");
        return 1;
    }
    size_t policy_length = load(argv[1], policy, sizeof policy);
    size_t length = load(argv[2], script, sizeof script);
    FILE *out = fopen(argv[3], "wb");
    if (!out) {
        fprintf(stderr, "cannot write %s\n", argv[3]);
        return 1;
    }
    coshift_boot boot;
    memset(&boot, 0, sizeof boot);
    boot.version[1] = 1;
    boot.reset_cause = 1;
    boot.last_fault = 1;
    boot.boot_nonce = 0xB007;
    coshift_node *node = NULL;
    if (coshift_node_create(memory, sizeof memory - 1, &boot, policy, policy_length, &node)
        != COSHIFT_STATUS_TOO_SMALL) {
        fprintf(stderr, "created in too little memory\n");
        return 1;
    }
    check(coshift_node_create(memory, sizeof memory, &boot, policy, policy_length, &node), "create");
    for (size_t at = 0; at + 6 <= length;) {
        const uint8_t *head = script + at;
        uint32_t now = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16
            | (uint32_t)head[3] << 24;
        size_t count = (size_t)head[4] | (size_t)head[5] << 8;
        if (at + 6 + count > length) {
            fprintf(stderr, "the script is cut\n");
            return 1;
        }
        step(node, now, head + 6, count, out);
        at += 6 + count;
    }
    coshift_info info;
    check(coshift_node_info(node, &info), "info");
    printf("mode %u session %u digest %lu dropped %lu unanswered %u\n", (unsigned)info.mode,
           (unsigned)info.session, (unsigned long)info.digest, (unsigned long)info.dropped,
           (unsigned)info.unanswered);
    check(coshift_node_destroy(node), "destroy");
    if (coshift_node_poll(node, 0) != COSHIFT_STATUS_NO_NODE) {
        fprintf(stderr, "a destroyed node still works\n");
        return 1;
    }
    return fclose(out) == 0 ? 0 : 1;
}
