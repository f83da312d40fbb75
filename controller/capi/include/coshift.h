// The controller of Coshift behind a C interface: see controller/capi.
// Made from the Rust source by cbindgen; a test keeps the two equal.

#ifndef COSHIFT_H
#define COSHIFT_H

#include <stddef.h>
#include <stdint.h>

// Version of this interface: changes when a caller must.
#define COSHIFT_API_VERSION 1

// Bytes of memory a node needs.
#define COSHIFT_NODE_SIZE 4096

// Alignment of that memory, bytes.
#define COSHIFT_NODE_ALIGN 8

// What coshift_node_wait_us gives where time alone changes nothing.
#define COSHIFT_NO_WAIT_LIMIT 4294967295

// Telemetries without a decision after which a node is broken.
#define COSHIFT_MOST_UNANSWERED 10

// What a call came to.
typedef enum coshift_status {
  // Done.
  COSHIFT_STATUS_OK = 0,
  // A pointer is null, or an array is null and its length is not 0.
  COSHIFT_STATUS_NULL = 1,
  // The memory has less than COSHIFT_NODE_SIZE bytes.
  COSHIFT_STATUS_TOO_SMALL = 2,
  // The memory is not aligned to COSHIFT_NODE_ALIGN bytes.
  COSHIFT_STATUS_MISALIGNED = 3,
  // The pointer is no node: never created, or destroyed.
  COSHIFT_STATUS_NO_NODE = 4,
  // The policy image is damaged or of another format; no node was created.
  COSHIFT_STATUS_BAD_POLICY = 5,
  // A value is none of those its field may have; no node was created.
  COSHIFT_STATUS_BAD_VALUE = 6,
} coshift_status;

// A node, in memory of the caller. What is in it is the library's own business.
typedef struct coshift_node coshift_node;

// Why the last reset happened and what is told about it, for coshift_node_create.
typedef struct coshift_boot {
  // Version of the firmware: major, minor, patch.
  uint8_t version[3];
  // Cause of the last reset: 1 power-on, 2 watchdog, 3 software, 4 external.
  uint8_t reset_cause;
  // Fault before it: 1 none, 2 panic, 3 hard fault, 4 stack overflow, 5 hang.
  uint8_t last_fault;
  // A number that differs at each boot.
  uint32_t boot_nonce;
  // What the fault left: line, program counter or address.
  uint32_t fault_detail;
} coshift_boot;

// State and counters of a node.
typedef struct coshift_info {
  // Mode of the controller: 1 boot, 2 waits for a policy, 3 runs, 4 holds, 5 safest level.
  uint8_t mode;
  // Telemetries since a decision was last sent. 0, but while a decision is under way; at
  // COSHIFT_MOST_UNANSWERED the node is broken, and the caller had better no longer feed its watchdog.
  uint8_t unanswered;
  // Session with the agent; 0 = none yet.
  uint16_t session;
  // Digest of everything taken in; equal digests give equal decisions.
  uint32_t digest;
  // Frames taken in, wrapping.
  uint32_t accepted;
  // Damaged, foreign or undecodable frames, wrapping.
  uint32_t faults;
  // Frames dropped because nobody took the ones before them, wrapping.
  uint32_t dropped;
  // Bytes that wait to be taken.
  uint32_t waiting;
} coshift_info;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of this interface: compare it with COSHIFT_API_VERSION of the header.
uint32_t coshift_api_version(void);

// Makes a node in `size` bytes of memory at `memory` and stores its address in `node`.
//
// `policy` is a policy image, read in place; with a length of 0 the node waits for one. On any
// status but COSHIFT_STATUS_OK nothing is created.
//
// # Safety
// `memory` must be writable for `size` bytes and used by nobody else until the node is destroyed;
// `boot` and `node` must be valid; the policy must stay unchanged where it is as long as the node
// lives.
enum coshift_status coshift_node_create(void *memory,
                                        size_t size,
                                        const struct coshift_boot *boot,
                                        const uint8_t *policy,
                                        size_t policy_length,
                                        struct coshift_node **node);

// Ends a node: its memory and policy may be used for something else. Nothing is freed.
//
// # Safety
// `node` must be null or memory that a node was created in.
enum coshift_status coshift_node_destroy(struct coshift_node *node);

// Takes in received bytes at `local_us`, the caller's own clock in wrapping microseconds, which only
// detects silence and times the decisions in one. Answers wait to be taken.
//
// # Safety
// `node` must be null or memory that a node was created in, used by no other context meanwhile;
// `bytes` must be readable for `length` bytes.
enum coshift_status coshift_node_feed(struct coshift_node *node,
                                      const uint8_t *bytes,
                                      size_t length,
                                      uint32_t local_us);

// Lets time pass up to `local_us`: announcements, silence, a slice of a decision under way.
//
// # Safety
// `node` must be null or memory that a node was created in, used by no other context meanwhile.
enum coshift_status coshift_node_poll(struct coshift_node *node, uint32_t local_us);

// How long after `local_us` the node must be polled, in microseconds, stored in `wait_us`: 0 = now,
// COSHIFT_NO_WAIT_LIMIT = time alone changes nothing. Received bytes are to be fed at once, but for
// when a decision is under way (0 just after a poll): bytes fed then have the rest of it done in
// one call, bytes that wait until it is not 0 any more do not.
//
// # Safety
// `node` must be null or memory that a node was created in; `wait_us` must be valid.
enum coshift_status coshift_node_wait_us(struct coshift_node *node,
                                         uint32_t local_us,
                                         uint32_t *wait_us);

// Takes up to `size` bytes of the frames to send and stores how many in `length`.
//
// # Safety
// `node` must be null or memory that a node was created in, used by no other context meanwhile;
// `bytes` must be writable for `size` bytes; `length` must be valid.
enum coshift_status coshift_node_take(struct coshift_node *node,
                                      uint8_t *bytes,
                                      size_t size,
                                      size_t *length);

// Stores the state and the counters of a node in `info`.
//
// # Safety
// `node` must be null or memory that a node was created in; `info` must be valid.
enum coshift_status coshift_node_info(struct coshift_node *node, struct coshift_info *info);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COSHIFT_H */
