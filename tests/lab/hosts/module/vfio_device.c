// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO device of a vGPU, as far as QEMU needs one: a PCI function with a configuration space and one small memory
 * region, whose first bytes keep what is written to them. It has no interrupts and does no DMA.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include "vgpu.h"

#define CONFIG_SIZE 256
#define BAR0_SIZE 4096
#define STATE_MAGIC 0x55504756
#define STATE_VERSION 1
#define REGION_SHIFT 40
#define REGION_OF(position) ((u64)(position) >> REGION_SHIFT)
#define OFFSET_IN(position) ((u64)(position) & ((1ULL << REGION_SHIFT) - 1))

struct vgpu_vfio {
	struct vfio_device vdev;
	struct vgpu_function *function;
	struct mutex lock; /* of what the guest can change */
	u8 config[CONFIG_SIZE];
	u8 registers[VGPU_REGISTERS];
	struct vgpu_migration migration;
};

static struct vgpu_vfio *to_vgpu(struct vfio_device *vdev)
{
	return container_of(vdev, struct vgpu_vfio, vdev);
}

struct vgpu_migration *vgpu_migration_of(struct vfio_device *vdev)
{
	return &to_vgpu(vdev)->migration;
}

static void power_on(struct vgpu_vfio *vgpu)
{
	mutex_lock(&vgpu->lock);
	memset(vgpu->config, 0, CONFIG_SIZE);
	memset(vgpu->registers, 0, VGPU_REGISTERS);
	put_unaligned_le16(0x10de, vgpu->config + PCI_VENDOR_ID);
	put_unaligned_le16(0x20f1, vgpu->config + PCI_DEVICE_ID);
	put_unaligned_le16(0x10de, vgpu->config + PCI_SUBSYSTEM_VENDOR_ID);
	vgpu->config[PCI_REVISION_ID] = 0xa1;
	put_unaligned_le16(PCI_CLASS_DISPLAY_3D, vgpu->config + PCI_CLASS_DEVICE);
	mutex_unlock(&vgpu->lock);
}

/* The bits of a byte of the configuration space that a guest can write. */
static u8 writable(unsigned int offset)
{
	switch (offset) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_CACHE_LINE_SIZE:
	case PCI_LATENCY_TIMER:
	case PCI_INTERRUPT_LINE:
	case PCI_BASE_ADDRESS_0 + 2:
	case PCI_BASE_ADDRESS_0 + 3:
		return 0xff;
	case PCI_BASE_ADDRESS_0 + 1:
		return 0xff & ~((BAR0_SIZE - 1) >> 8);
	default:
		return 0;
	}
}

static u8 *byte_at(struct vgpu_vfio *vgpu, u64 region, u64 offset)
{
	if (region == VFIO_PCI_CONFIG_REGION_INDEX && offset < CONFIG_SIZE)
		return vgpu->config + offset;
	if (region == VFIO_PCI_BAR0_REGION_INDEX && offset < VGPU_REGISTERS)
		return vgpu->registers + offset;
	return NULL;
}

static size_t region_size(u64 region)
{
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return CONFIG_SIZE;
	return region == VFIO_PCI_BAR0_REGION_INDEX ? BAR0_SIZE : 0;
}

/* How much of an access lies within its region: 0 is an error. */
static size_t within(loff_t position, size_t count)
{
	size_t size = region_size(REGION_OF(position));
	u64 offset = OFFSET_IN(position);

	return offset < size ? min_t(u64, count, size - offset) : 0;
}

static ssize_t read_region(struct vfio_device *vdev, char __user *buffer, size_t count, loff_t *position)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);
	u64 region = REGION_OF(*position), offset = OFFSET_IN(*position);
	size_t done;

	count = within(*position, count);
	if (!count)
		return -EINVAL;
	for (done = 0; done < count; done++) {
		u8 *byte = byte_at(vgpu, region, offset + done), value;

		mutex_lock(&vgpu->lock);
		value = byte ? *byte : 0xff;
		mutex_unlock(&vgpu->lock);
		if (put_user(value, (u8 __user *)buffer + done))
			return -EFAULT;
	}
	*position += count;
	return count;
}

static ssize_t write_region(struct vfio_device *vdev, const char __user *buffer, size_t count, loff_t *position)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);
	u64 region = REGION_OF(*position), offset = OFFSET_IN(*position);
	size_t done;

	count = within(*position, count);
	if (!count)
		return -EINVAL;
	for (done = 0; done < count; done++) {
		u8 *byte = byte_at(vgpu, region, offset + done), value, mask = 0xff;

		if (get_user(value, (u8 __user *)buffer + done))
			return -EFAULT;
		if (!byte)
			continue;
		if (region == VFIO_PCI_CONFIG_REGION_INDEX)
			mask = writable(offset + done);
		mutex_lock(&vgpu->lock);
		*byte = (*byte & ~mask) | (value & mask);
		mutex_unlock(&vgpu->lock);
	}
	*position += count;
	return count;
}

static int get_info(void __user *argument)
{
	struct vfio_device_info info;
	size_t size = offsetofend(struct vfio_device_info, num_irqs);

	if (copy_from_user(&info, argument, size))
		return -EFAULT;
	if (info.argsz < size)
		return -EINVAL;
	info.argsz = size;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(argument, &info, size) ? -EFAULT : 0;
}

static int get_region_info(void __user *argument)
{
	struct vfio_region_info info;
	size_t size = offsetofend(struct vfio_region_info, offset);

	if (copy_from_user(&info, argument, size))
		return -EFAULT;
	if (info.argsz < size || info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info.argsz = size;
	info.cap_offset = 0;
	info.size = region_size(info.index);
	info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	info.offset = (u64)info.index << REGION_SHIFT;
	return copy_to_user(argument, &info, size) ? -EFAULT : 0;
}

static int get_irq_info(void __user *argument)
{
	struct vfio_irq_info info;
	size_t size = offsetofend(struct vfio_irq_info, count);

	if (copy_from_user(&info, argument, size))
		return -EFAULT;
	if (info.argsz < size || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info.argsz = size;
	info.flags = 0;
	info.count = 0;
	return copy_to_user(argument, &info, size) ? -EFAULT : 0;
}

static long control(struct vfio_device *vdev, unsigned int command, unsigned long argument)
{
	switch (command) {
	case VFIO_DEVICE_GET_INFO:
		return get_info((void __user *)argument);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region_info((void __user *)argument);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info((void __user *)argument);
	case VFIO_DEVICE_RESET:
		power_on(to_vgpu(vdev));
		vgpu_migration_reset(&to_vgpu(vdev)->migration);
		return 0;
	default:
		return -ENOTTY;
	}
}

/* Every machine that opens the device finds it as after power-on, whatever the one before left behind. */
static int open_device(struct vfio_device *vdev)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);
	int error = vgpu_opened(vgpu->function);

	if (error)
		return error;
	power_on(vgpu);
	vgpu_migration_reset(&vgpu->migration);
	return 0;
}

static void close_device(struct vfio_device *vdev)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);

	vgpu_migration_reset(&vgpu->migration);
	vgpu_closed(vgpu->function);
}

void vgpu_state_save(struct vfio_device *vdev, struct vgpu_state *state)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);

	mutex_lock(&vgpu->lock);
	state->magic = STATE_MAGIC;
	state->version = STATE_VERSION;
	state->type_number = vgpu_types[vgpu->function->type].number;
	state->command = get_unaligned_le16(vgpu->config + PCI_COMMAND);
	memcpy(state->registers, vgpu->registers, VGPU_REGISTERS);
	mutex_unlock(&vgpu->lock);
}

/* A vGPU takes the state of one of its own type only. */
bool vgpu_state_fits(struct vfio_device *vdev, const struct vgpu_state *state)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);

	return state->magic == STATE_MAGIC && state->version == STATE_VERSION &&
	       state->type_number == vgpu_types[vgpu->function->type].number;
}

void vgpu_state_load(struct vfio_device *vdev, const struct vgpu_state *state)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);

	mutex_lock(&vgpu->lock);
	put_unaligned_le16(state->command, vgpu->config + PCI_COMMAND);
	memcpy(vgpu->registers, state->registers, VGPU_REGISTERS);
	mutex_unlock(&vgpu->lock);
}

static int init(struct vfio_device *vdev)
{
	struct vgpu_vfio *vgpu = to_vgpu(vdev);

	mutex_init(&vgpu->lock);
	vgpu_migration_init(&vgpu->migration);
	if (vgpu_migratable) {
		vdev->migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
		vdev->mig_ops = &vgpu_migration_ops;
	}
	power_on(vgpu);
	return 0;
}

static const struct vfio_device_ops operations = {
	.name = "nvidia-vgpu-vfio",
	.init = init,
	.open_device = open_device,
	.close_device = close_device,
	.read = read_region,
	.write = write_region,
	.ioctl = control,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};

/* Offer a vGPU to virtual machines as a VFIO device of ``dev``. */
struct vgpu_vfio *vgpu_vfio_add(struct device *dev, struct vgpu_function *function)
{
	struct vgpu_vfio *vgpu;
	int error;

	vgpu = vfio_alloc_device(vgpu_vfio, vdev, dev, &operations);
	if (IS_ERR(vgpu))
		return vgpu;
	vgpu->function = function;
	error = vfio_register_emulated_iommu_dev(&vgpu->vdev);
	if (error) {
		vfio_put_device(&vgpu->vdev);
		return ERR_PTR(error);
	}
	return vgpu;
}
EXPORT_SYMBOL_GPL(vgpu_vfio_add);

/* Take it back; waits until nobody has it open. */
void vgpu_vfio_remove(struct vgpu_vfio *vgpu)
{
	vfio_unregister_group_dev(&vgpu->vdev);
	vfio_put_device(&vgpu->vdev);
}
EXPORT_SYMBOL_GPL(vgpu_vfio_remove);
