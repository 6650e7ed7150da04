//! Priorities of command queues, as the driver knows them: Vulkan's global ones, which order devices among each other, and
//! each level has a device of its own.
//!
//! wgpu has no word for them, so a device is opened one layer below it. What is not granted, for want of the extension or
//! of the right to it, is opened without.

use crate::qos::Qos;

#[cfg(any(windows, all(unix, not(target_vendor = "apple"))))]
pub(super) fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
    qos: Qos,
) -> Result<(wgpu::Device, wgpu::Queue), String> {
    vulkan::open(adapter, descriptor, qos)
}

#[cfg(not(any(windows, all(unix, not(target_vendor = "apple")))))]
pub(super) fn open(
    _adapter: &wgpu::Adapter,
    _descriptor: &wgpu::DeviceDescriptor<'_>,
    _qos: Qos,
) -> Result<(wgpu::Device, wgpu::Queue), String> {
    Err("this system has no such priorities".to_owned())
}

#[cfg(any(windows, all(unix, not(target_vendor = "apple"))))]
#[expect(unsafe_code, reason = "wgpu reaches the layer below it only so")]
mod vulkan {
    use ash::vk;
    use wgpu::hal::api::Vulkan;
    use wgpu::hal::vulkan::CreateDeviceCallback;

    use crate::qos::Qos;

    fn priority(qos: Qos) -> vk::QueueGlobalPriorityKHR {
        match qos {
            Qos::High => vk::QueueGlobalPriorityKHR::HIGH,
            Qos::Default => vk::QueueGlobalPriorityKHR::MEDIUM,
            Qos::Low => vk::QueueGlobalPriorityKHR::LOW,
        }
    }

    pub(super) fn open(
        adapter: &wgpu::Adapter,
        descriptor: &wgpu::DeviceDescriptor<'_>,
        qos: Qos,
    ) -> Result<(wgpu::Device, wgpu::Queue), String> {
        let priority = priority(qos);
        // SAFETY: the adapter is only looked at, and used to open a device, which is what it is for.
        let hal = unsafe { adapter.as_hal::<Vulkan>() }.ok_or("the adapter is not one of Vulkan's")?;
        if !hal.physical_device_capabilities().supports_extension(vk::KHR_GLOBAL_PRIORITY_NAME) {
            return Err("the driver does not have VK_KHR_global_priority".to_owned());
        }
        if !offered(&hal).contains(&priority) {
            return Err(format!("the driver does not offer {priority:?}"));
        }
        let mut wanted = vk::DeviceQueueGlobalPriorityCreateInfoKHR::default().global_priority(priority);
        let wanted = &mut wanted;
        let add: Box<CreateDeviceCallback<'_>> = Box::new(move |arguments| {
            arguments.extensions.push(vk::KHR_GLOBAL_PRIORITY_NAME);
            // wgpu takes one queue, of the first family.
            if let Some(queue) = arguments.queue_create_infos.first_mut() {
                *queue = queue.push_next(wanted);
            }
        });
        let (features, limits) = (descriptor.required_features, &descriptor.required_limits);
        // SAFETY: the callback adds an extension that the device has, and what belongs to it; it takes nothing away.
        let opened = unsafe { hal.open_with_callback(features, limits, &descriptor.memory_hints, Some(add)) };
        let opened = opened.map_err(|error| format!("the driver refused it: {error}"))?;
        drop(hal);
        // SAFETY: the device was opened on this adapter, with these features and limits.
        let made = unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) };
        made.map_err(|error| error.to_string())
    }

    /// What a queue of the first family may be given.
    fn offered(hal: &wgpu::hal::vulkan::Adapter) -> Vec<vk::QueueGlobalPriorityKHR> {
        let instance = hal.shared_instance().raw_instance();
        // SAFETY: the physical device is of this instance; families are written to as many places as there are.
        unsafe {
            let device = hal.raw_physical_device();
            let mut known = vk::QueueFamilyGlobalPriorityPropertiesKHR::default();
            let mut families = vec![
                vk::QueueFamilyProperties2::default();
                instance.get_physical_device_queue_family_properties2_len(device)
            ];
            if let Some(first) = families.first_mut() {
                *first = first.push_next(&mut known);
            }
            instance.get_physical_device_queue_family_properties2(device, &mut families);
            known.priorities_as_slice().to_vec()
        }
    }
}
