// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vendor's own VFIO framework: no mediated devices; a type is written to a virtual function, which is itself the
 * VFIO device that a virtual machine opens.
 */
#include <linux/delay.h>
#include <linux/sysfs.h>
#include "vgpu.h"

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attribute, char *text)
{
	struct vgpu_function *function = dev_get_drvdata(dev);
	int index, length;

	length = sysfs_emit(text, "ID    : vGPU Name\n");
	for (index = 0; index < VGPU_TYPES; index++)
		if (vgpu_available(function, index))
			length += sysfs_emit_at(text, length, "%-6u: %s\n", vgpu_types[index].number,
						vgpu_types[index].vendor_name);
	return length;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attribute, char *text)
{
	struct vgpu_function *function = dev_get_drvdata(dev);
	int type = READ_ONCE(function->type);

	return sysfs_emit(text, "%u\n", type == VGPU_NONE ? 0 : vgpu_types[type].number);
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attribute, const char *text,
				       size_t length)
{
	struct vgpu_function *function = dev_get_drvdata(dev);
	unsigned int number;
	int error, index;

	error = kstrtouint(text, 0, &number);
	if (error)
		return error;
	if (!number) {
		error = vgpu_release(function);
		return error ? error : length;
	}
	index = vgpu_index_of(number);
	if (index == VGPU_NONE)
		return -EINVAL;
	if (vgpu_create_delay_ms)
		msleep(vgpu_create_delay_ms);
	error = vgpu_claim(function, index);
	return error ? error : length;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static struct attribute *attributes[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	NULL
};

/* Virtual functions have the folder, the GPU itself has not, and nobody has it under the other framework. */
static umode_t is_visible(struct kobject *kobject, struct attribute *attribute, int index)
{
	struct pci_dev *pdev = to_pci_dev(kobj_to_dev(kobject));

	return vgpu_vendor_framework() && pdev->is_virtfn ? attribute->mode : SYSFS_GROUP_INVISIBLE;
}

static const struct attribute_group group = {
	.name = "nvidia",
	.attrs = attributes,
	.is_visible = is_visible,
};

const struct attribute_group *vgpu_vendor_groups[] = { &group, NULL };

static int add(struct vgpu_function *function)
{
	struct vgpu_vfio *vgpu = vgpu_vfio_add(&function->pdev->dev, function);

	if (IS_ERR(vgpu))
		return PTR_ERR(vgpu);
	function->framework = vgpu;
	return 0;
}

static void remove(struct vgpu_function *function)
{
	vgpu_vfio_remove(function->framework);
	vgpu_release(function);
}

const struct vgpu_framework vgpu_vendor = { .add = add, .remove = remove };
