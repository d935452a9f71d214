/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the lab's driver know of each other: the GPU with its rules, the virtual function, and the VFIO
 * device that a virtual machine opens.
 */
#ifndef LAB_VGPU_H
#define LAB_VGPU_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/vfio.h>

#define VGPU_TYPES 6
#define VGPU_NONE (-1)

/* One vGPU type. "index" into vgpu_types[] stands for it everywhere else. */
struct vgpu_type {
	unsigned int number;
	const char *sysfs_name;
	const char *mdev_name;
	const char *vendor_name;
	unsigned int framebuffer_mib;
};

/* A physical GPU: all its vGPUs have one size. Everything that changes is guarded by vgpu_lock. */
struct vgpu_gpu {
	struct pci_dev *pdev;
	struct list_head node;
	struct proc_dir_entry *proc;
	unsigned int minor;
	int type;
	unsigned int count;
};

/* A virtual function, which carries one vGPU at most. Guarded by vgpu_lock but for the pointers. */
struct vgpu_function {
	struct pci_dev *pdev;
	struct vgpu_gpu *gpu;
	struct list_head node;
	int type;
	bool open;
	void *framework;
};

/* How vGPUs are made on the functions. add() and remove() may sleep; they are called without vgpu_lock. */
struct vgpu_framework {
	int (*add)(struct vgpu_function *function);
	void (*remove)(struct vgpu_function *function);
};

extern const struct vgpu_type vgpu_types[VGPU_TYPES];
extern unsigned int vgpu_maximum[VGPU_TYPES];
extern struct mutex vgpu_lock;
extern struct list_head vgpu_gpus;

/* rules.c */
int vgpu_index_of(unsigned int number);
unsigned int vgpu_available(struct vgpu_function *function, int type);
int vgpu_claim(struct vgpu_function *function, int type);
int vgpu_release(struct vgpu_function *function);
int vgpu_opened(struct vgpu_function *function);
void vgpu_closed(struct vgpu_function *function);
bool vgpu_any_open(struct vgpu_gpu *gpu);

/* functions.c */
bool vgpu_vendor_framework(void);
int vgpu_framework_register(const struct vgpu_framework *framework);
void vgpu_framework_unregister(void);
extern unsigned int vgpu_create_delay_ms;
extern bool vgpu_migratable;

/* vfio_device.c: the device that a virtual machine opens, on a mediated device or on the function itself */
struct vgpu_vfio;
struct vgpu_vfio *vgpu_vfio_add(struct device *dev, struct vgpu_function *function);
void vgpu_vfio_remove(struct vgpu_vfio *vgpu);

/* migration.c */
#define VGPU_REGISTERS 32

/* What a live migration carries, in the byte order of the machine. */
struct vgpu_state {
	__u32 magic;
	__u32 version;
	__u32 type_number;
	__u32 command;
	__u8 registers[VGPU_REGISTERS];
};

struct vgpu_stream;

struct vgpu_migration {
	struct mutex lock;
	enum vfio_device_mig_state now;
	struct vgpu_stream *stream;
};

extern const struct vfio_migration_ops vgpu_migration_ops;
void vgpu_migration_init(struct vgpu_migration *migration);
void vgpu_migration_reset(struct vgpu_migration *migration);
struct vgpu_migration *vgpu_migration_of(struct vfio_device *vdev);
void vgpu_state_save(struct vfio_device *vdev, struct vgpu_state *state);
bool vgpu_state_fits(struct vfio_device *vdev, const struct vgpu_state *state);
void vgpu_state_load(struct vfio_device *vdev, const struct vgpu_state *state);

/* vendor.c */
extern const struct attribute_group *vgpu_vendor_groups[];
extern const struct vgpu_framework vgpu_vendor;

/* proc.c */
int vgpu_proc_init(void);
void vgpu_proc_exit(void);
void vgpu_proc_add(struct vgpu_gpu *gpu);
void vgpu_proc_remove(struct vgpu_gpu *gpu);

#define VGPU_DRIVER_VERSION "550.90.05"

#endif
